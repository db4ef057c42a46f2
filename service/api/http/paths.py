"""Parameters that routes share, as /docs describes them. A path that does not fit is not found: no check is needed."""

from typing import Annotated

from fastapi import Path, Query

from service.core import TASK_NAME

_TASK = TASK_NAME.pattern
_ALIAS = "([a-z]|[0-9]+[a-z-])[a-z0-9-]{0,62}"  # a task's name that is no number

Task = Annotated[str, Path(description="Name of the task", json_schema_extra={"pattern": f"^{_TASK}$"})]
Reference = Annotated[
    str,
    Path(
        description="Name of the task; `sst2@7` pins a version, `sst2@canary` an alias",
        json_schema_extra={"pattern": f"^{_TASK}(@{_TASK})?$"},
    ),
]
Alias = Annotated[
    str, Path(description="`live` is what clients get", json_schema_extra={"pattern": f"^{_ALIAS}$", "maxLength": 63})
]
Version = Annotated[int, Path(description="Number of the version", json_schema_extra={"minimum": 1})]
ModelVersion = Annotated[
    str, Path(description="Number of the version", json_schema_extra={"pattern": "^[1-9][0-9]{0,8}$"})
]
KeyId = Annotated[str, Path(description="As the list shows it", json_schema_extra={"pattern": "^[0-9a-f]{12}$"})]
AllowIncompatible = Annotated[
    bool,
    Query(description="Make it live even where its type, pairs or missing labels break clients of the live version."),
]
