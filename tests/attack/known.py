"""The classes of attacks, by their names. A new one is a module in `classes` and a name below."""

from __future__ import annotations

from tests.attack.attack import Attack
from tests.attack.classes.canaries import CANARIES
from tests.attack.classes.codec import CODEC
from tests.attack.classes.environment import ENVIRONMENT
from tests.attack.classes.expressions import EXPRESSIONS
from tests.attack.classes.injections import INJECTIONS
from tests.attack.classes.markup import MARKUP
from tests.attack.classes.masked import MASKED
from tests.attack.classes.messages import MESSAGES
from tests.attack.classes.payloads import PAYLOADS
from tests.attack.classes.schemas import SCHEMAS
from tests.attack.classes.starts import STARTS
from tests.attack.classes.urls import URLS
from tests.attack.classes.yaml_files import YAML

_ALL = (
    PAYLOADS,
    MESSAGES,
    STARTS,
    YAML,
    SCHEMAS,
    EXPRESSIONS,
    INJECTIONS,
    URLS,
    CANARIES,
    MASKED,
    MARKUP,
    CODEC,
    ENVIRONMENT,
)
CLASSES: dict[str, Attack] = {attack.name: attack for attack in _ALL}
