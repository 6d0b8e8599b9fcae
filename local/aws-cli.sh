#!/bin/sh
# The AWS CLI of this project's environment. Its own script breaks on a space in the checkout's path, and for
# SQS it ignores AWS_ENDPOINT_URL, so a request meant for the local stack would leave the machine.
exec "$(dirname "$0")/python" -m awscli ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} "$@"
