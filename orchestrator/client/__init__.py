"""What asks the HTTP API: a server over the network, or this machine's installation in process.

How a command is added: a function in `orchestrator/cli`, in `GROUPS` of `orchestrator/cli/main.py`,
asks with `with asking() as asked:` and `asked.get(…)`, `asked.post(…)`, `asked.rows(…)`, and never
looks at the ledger itself; what it needs and the API lacks becomes a route (docs/api.md). Errors
are those of `orchestrator/errors.py`, in both places; `python -m orchestrator.cli.reference` makes
its page of docs/cli.md.
"""

import sys
from typing import Any, cast

# httpx imports a command line of its own, with click and rich: an eighth of what a command costs
cast("dict[str, Any]", sys.modules).setdefault("httpx._main", None)
