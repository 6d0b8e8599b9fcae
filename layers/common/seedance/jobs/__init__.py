"""The job: its states, its record, its budget, and the hand-over to the queue and the workflow."""
