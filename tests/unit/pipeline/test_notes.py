from __future__ import annotations

from millrace.alerts.types import Episode, EpisodeId
from millrace.pipeline.notes import catch_up
from millrace.pipeline.policy import Trigger
from millrace.pipeline.retrain import subject
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW
from tests.unit.pipeline.shop import DAY, WEEK
from tests.unit.pipeline.test_attempts import CHAMPION, PIPELINE, begun, ended


def open_episode(workspace: Workspace) -> EpisodeId:
    workspace.promotions.append(CHAMPION)
    about, began = subject(PIPELINE, "1"), NOW - 6 * WEEK
    episode = Episode(
        EpisodeId(0), "shop", about, "open", began, began + DAY, began + DAY, None, "spend moved", {"kinds": ["drift"]}
    )
    return workspace.episodes.open(episode).id


def history(workspace: Workspace, episode: EpisodeId) -> list[str]:
    return [note.text for note in workspace.episodes.notes(episode)]


def test_a_refused_challenger_is_in_the_episodes_history_once(workspace: Workspace) -> None:
    episode = open_episode(workspace)
    catch_up(workspace, PIPELINE)
    assert history(workspace, episode) == []
    begun(workspace, Trigger(int(episode)))
    for _ in range(2):
        catch_up(workspace, PIPELINE)
    assert history(workspace, episode) == ["a retraining began, trained on labels up to 2025-05-12"]
    ended(workspace, "validate", {"results": [{"passed": False, "reason": "v1 is better"}]}, "refused")
    for _ in range(2):
        catch_up(workspace, PIPELINE)
    assert history(workspace, episode)[1:] == ["a retraining was refused: v1 is better"]
    begun(workspace, Trigger(int(episode), attempt=2), group="h")
    ended(workspace, "production", group="h")
    catch_up(workspace, PIPELINE)
    assert history(workspace, episode)[2:] == [
        "retraining 2 began, trained on labels up to 2025-05-12",
        "retraining 2 went into production",
    ]


def test_a_scheduled_retraining_and_one_of_a_removed_episode_are_in_nobodys_history(workspace: Workspace) -> None:
    open_episode(workspace)
    begun(workspace, Trigger(tick=NOW))
    catch_up(workspace, PIPELINE)
    begun(workspace, Trigger(99), group="h")
    catch_up(workspace, PIPELINE)
    assert [history(workspace, one.id) for one in workspace.episodes.list()] == [[]]
