"""`millrace quickstart`: a shop, two years, the whole loop."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say


def quickstart(
    *,
    seed: Annotated[int, Parameter(help="Of the shop's simulation: another seed, another shop.")] = 7,
    change: Annotated[
        bool, Parameter(negative="--no-change", help="Whether the customers change their behaviour.")
    ] = True,
    home: Home = None,
    json: Json = False,
) -> int:
    """Make a shop and live through the whole loop with it, in virtual time: some minutes."""
    from millrace.cli.progress import progress
    from millrace.pipeline.load import load_pipeline
    from millrace.quickstart.home import fresh_home
    from millrace.quickstart.report import as_json, as_text
    from millrace.quickstart.shop import ShopPlan
    from millrace.quickstart.story import PAGE, live_through
    from millrace.quickstart.timeline import Timeline

    plan = ShopPlan(seed=seed) if change else ShopPlan(seed=seed, change=None)
    with fresh_home(home, seed) as (workspace, found):
        with progress(plain=json) as shown:
            shown.stage("home", "done", found)
            outcome = live_through(workspace, plan, Timeline(), shown)
        pipeline = load_pipeline(PAGE)
        if json:
            print_json({"found": found, **as_json(workspace, pipeline, outcome)})
        else:
            for line in as_text(workspace, pipeline, outcome):
                say(line)
    return 0
