"""Product images and prompts in, videos out: what every function of the pipeline shares.

Pure modules (job, schedule, intake, catalogue, messages, formats, errors) know nothing of AWS or HTTP.
Adapters (store, provider, download, media, notification, workflow) each speak to one outside thing; entry is Lambda's.
Use cases (submit, poll, generate, finalize, fail) carry the name of the function that runs them.
"""
