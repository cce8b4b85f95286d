"""Beartype as PEP 484 has it: an int is welcome where a float is asked for."""

from beartype import BeartypeConf
from beartype import beartype as _beartype

check = _beartype(conf=BeartypeConf(is_pep484_tower=True))
