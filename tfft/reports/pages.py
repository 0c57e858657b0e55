"""Templates of pages: what they show is escaped, and a name that isn't there is an error.

html = template("parity.html").render(result=result, charts=charts)
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tfft.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = lambda number: f"{number:.1e}" if number else "0"
    return environment.get_template(name)
