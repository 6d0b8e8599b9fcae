"""The job: its states and record, what it may cost, and how it is handed on."""
