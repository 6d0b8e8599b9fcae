"""Code for AWS in general: clients, TLS, DynamoDB items, the Lambda entry point. Independent of videos."""
