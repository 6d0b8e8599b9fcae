"""The doctor's table: every free check, with the permissions that it needs and the remedy if it fails."""

from cli.doctor import checks_data, checks_events, checks_jobs, checks_money, checks_outside, checks_stack
from cli.doctor.results import ASKING_SECONDS, Check

_ASK = "lambda:InvokeFunction"
_READ = "dynamodb:GetItem"
_LIST = "dynamodb:Query"
_QUEUE = "sqs:GetQueueAttributes"
_SOURCE = "lambda:ListEventSourceMappings"
_AS_DEPLOYED = "Somebody changed it since the deployment: `sam build && sam deploy`, or set it back by hand."

CHECKS: tuple[Check, ...] = (
    Check(
        "deployed",
        "stack",
        checks_stack.deployed,
        "Look at the stack's events in CloudFormation, fix the cause, then `sam deploy` again.",
    ),
    Check(
        "versions",
        "stack",
        checks_stack.versions,
        "`sam build && sam deploy` from the release that this command is of.",
        needs=(_ASK, "lambda:GetFunctionConfiguration"),
        seconds=ASKING_SECONDS,
    ),
    Check(
        "machines",
        "stack",
        checks_stack.machines,
        "`sam build && sam deploy`. If that does not help, send the report to the project.",
        needs=("states:DescribeStateMachine", "states:ValidateStateMachineDefinition"),
        emulated=False,
    ),
    Check(
        "quotas",
        "stack",
        checks_stack.quotas,
        "Service Quotas, AWS Lambda, Concurrent executions (L-B99A9384): ask for 1000. Until then, functions are "
        "throttled and jobs take longer; nothing is lost.",
        needs=("lambda:GetAccountSettings",),
        emulated=False,
    ),
    Check("clock", "stack", checks_stack.clock, "Turn on time synchronization (NTP) on this machine."),
    Check(
        "errors",
        "stack",
        checks_stack.errors,
        'docs/operations.md, "When something is wrong". `sam logs` shows the lines around an error.',
        needs=("logs:FilterLogEvents",),
        seconds=60.0,
    ),
    Check(
        "workflows",
        "stack",
        checks_stack.executions,
        "The execution in Step Functions, named after its job or batch, shows where. Reconcile continues a job that "
        "was submitted; `seedance redrive BATCH` starts a batch again.",
        needs=("states:ListExecutions", _READ),
    ),
    Check(
        "provider key",
        "money",
        checks_money.key,
        "Put the right key into the secret: `aws secretsmanager put-secret-value --secret-id ARN --secret-string KEY`.",
        needs=(_ASK,),
        seconds=ASKING_SECONDS,
    ),
    Check(
        "credits",
        "money",
        checks_money.credits_left,
        "Top up the provider's account, then `seedance resume`.",
        needs=(_ASK, _READ),
        seconds=ASKING_SECONDS,
    ),
    Check(
        "history",
        "money",
        checks_money.history,
        "Check SegmindHistoryUrl, and try again in a minute. Until it can be read, lost submits stay undecided.",
        needs=(_ASK,),
        seconds=ASKING_SECONDS,
    ),
    Check(
        "budget",
        "money",
        checks_money.budget,
        "Raise DailyBudgetUsd, or `seedance pause` if the spending is unexpected.",
        needs=(_READ,),
    ),
    Check("paused", "money", checks_money.paused, "Fix the cause, then `seedance resume`.", needs=(_READ,)),
    Check(
        "prices",
        "money",
        checks_money.prices,
        "Compare them with the provider's price list: docs/operations.md, PriceDriftAlarm.",
        needs=(_READ,),
    ),
    Check(
        "held jobs",
        "jobs",
        checks_jobs.held,
        "`seedance status JOB` says why; docs/operations.md, HeldAlarm, what to do.",
        needs=(_LIST, _READ),
    ),
    Check(
        "uncertain jobs",
        "jobs",
        checks_jobs.uncertain,
        "`seedance explain JOB`, then `seedance resolve JOB` with --adopt, --resubmit or --give-up.",
        needs=(_LIST, _READ),
    ),
    Check("uploads", "jobs", checks_jobs.uploads, _AS_DEPLOYED, needs=("s3:GetBucketNotification", _QUEUE)),
    Check(
        "submit queue",
        "jobs",
        checks_jobs.submit_queue,
        "Enable the SQS trigger of the submit function in Lambda.",
        needs=(_QUEUE, _SOURCE),
    ),
    Check(
        "dead letters",
        "jobs",
        checks_jobs.dead_letters,
        "Find the job ids in the submit function's log, fix the cause, then `seedance redrive`.",
        needs=(_QUEUE,),
    ),
    Check(
        "reconcile",
        "jobs",
        checks_jobs.reconcile,
        "Enable the rule of reconcile in EventBridge.",
        needs=("events:DescribeRule",),
    ),
    Check(
        "public access",
        "data",
        checks_data.public_access,
        _AS_DEPLOYED,
        needs=("s3:GetBucketPublicAccessBlock", "s3:GetBucketPolicy", _QUEUE),
    ),
    Check(
        "encryption",
        "data",
        checks_data.encryption,
        _AS_DEPLOYED,
        needs=("s3:GetEncryptionConfiguration", _QUEUE, "sns:GetTopicAttributes"),
    ),
    Check(
        "plain http",
        "data",
        checks_data.plain_text,
        _AS_DEPLOYED,
        needs=("s3:GetBucketPolicy", _QUEUE, _ASK),
        emulated=False,
        seconds=ASKING_SECONDS,
    ),
    Check("versioning", "data", checks_data.versioning, _AS_DEPLOYED, needs=("s3:GetBucketVersioning",)),
    Check(
        "lifecycle",
        "data",
        checks_data.lifecycle,
        _AS_DEPLOYED,
        needs=("s3:GetLifecycleConfiguration",),
        emulated=False,
    ),
    Check(
        "backups",
        "data",
        checks_data.backups,
        _AS_DEPLOYED,
        needs=("dynamodb:DescribeContinuousBackups",),
        emulated=False,
    ),
    Check(
        "time to live",
        "data",
        checks_data.time_to_live,
        _AS_DEPLOYED,
        needs=("dynamodb:DescribeTimeToLive",),
        emulated=False,
    ),
    Check(
        "notifications",
        "outside",
        checks_outside.notifications,
        "Open the link in the mail that AWS sent. It is valid for two days; after that, subscribe the address again.",
        needs=("sns:ListSubscriptionsByTopic",),
    ),
    Check(
        "alarm mail",
        "outside",
        checks_outside.alarm_subscribers,
        "Set AlarmEmail and confirm the mail that AWS sends, or subscribe to AlarmTopicArn.",
        needs=("sns:ListSubscriptionsByTopic",),
        emulated=False,
    ),
    Check(
        "alarms",
        "outside",
        checks_outside.alarms,
        'docs/operations.md, "When something is wrong", says what to do for each alarm.',
        needs=("cloudwatch:DescribeAlarms",),
        emulated=False,
    ),
    Check(
        "metrics",
        "outside",
        checks_outside.metrics,
        "Look for lines with _aws in the log of finalize; without them no alarm on jobs can go off.",
        needs=("cloudwatch:ListMetrics", _LIST),
        emulated=False,
    ),
    Check(
        "api",
        "outside",
        checks_outside.api,
        "`sam build && sam deploy`; the api function's log says more about 5xx. With DomainName: its DNS must lead to "
        "DomainTarget, and the API mapping of the path v1 to the stage v1 of Api.",
        needs=("apigateway:GET",),
        seconds=ASKING_SECONDS,
    ),
    Check(
        "events",
        "outside",
        checks_events.events,
        "Fix the cause, which the announce function's log names, then `seedance redrive` within 24 hours of the "
        "change. A trigger that is off: enable it in Lambda.",
        needs=(_SOURCE, _QUEUE),
    ),
    Check(
        "webhooks",
        "outside",
        checks_events.webhooks,
        "Correct the receiver, WebhookUrl or the secret (the deliver function's log names the cause), then "
        "`seedance redrive`.",
        needs=(_SOURCE, _QUEUE, _READ),
    ),
    Check(
        "links",
        "outside",
        checks_outside.links,
        "`sam build && sam deploy`. If that does not help, send the report to the project.",
        needs=(_ASK, _LIST, "apigateway:GET"),
        seconds=ASKING_SECONDS,
    ),
    Check(
        "video pages",
        "outside",
        checks_outside.video_pages,
        "With DomainName: its DNS must lead to the stack's output DomainTarget (a change takes a while), and the API "
        "mapping of the path w must lead to the stage w of LinkApi. Otherwise `sam build && sam deploy`. Until then, "
        "the links in mails do not work; the videos are in the bucket.",
        seconds=60.0,
    ),
)
"""In the order of the output."""
