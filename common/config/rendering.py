"""Settings as a person may see them."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

import msgspec
import yaml
from msgspec import Struct

from common.config.settings import Settings
from common.secrets import Secret, scrub


def as_yaml(settings: Settings) -> str:
    """The effective settings as YAML, in the order of the structs; secrets are `***`, URLs lack their
    password."""
    return scrub(yaml.safe_dump(shown(settings), sort_keys=False, allow_unicode=True, width=120))


def shown(value: object) -> object:
    """A setting, or a whole section, as plain values: mappings, lists, texts, numbers."""
    if isinstance(value, Struct):
        return {name: shown(field) for name, field in msgspec.structs.asdict(value).items()}
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [shown(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Secret | Decimal) else value
