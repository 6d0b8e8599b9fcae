"""The calls that the API has, as in template.yaml. Pure."""

ROUTES = (
    "POST /videos",
    "GET /videos",
    "GET /videos/{job_id}",
    "POST /videos/{job_id}/cancel",
    "POST /videos/{job_id}/retry",
    "GET /videos/{job_id}/timeline",
    "POST /videos/{job_id}/link",
    "DELETE /videos/{job_id}/link",
    "POST /uploads",
    "POST /estimates",
    "GET /budget",
    "POST /pause",
    "POST /resume",
    "POST /batches",
    "GET /batches",
    "GET /batches/{batch_id}",
    "POST /batches/{batch_id}/approve",
    "POST /batches/{batch_id}/cancel",
    "GET /models",
    "GET /openapi.json",
)
"""Method and path of each call. openapi.json describes them; tests compare all three."""
