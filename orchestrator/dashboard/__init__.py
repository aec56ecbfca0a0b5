"""Pages for operators, approvers and support: what the API tells, to be looked at."""
