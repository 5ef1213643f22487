"""Both sides are changed in virtual time: whatever is written, no prompt goes between two KV revisions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.gateway_api import POOLS
from fusioninfer.reconcile.snapshot import PODS
from tests import make, virtual
from tests.stories import test_router
from tests.stories.played import User

ROUTER = make.a_router()


def sides(image: str = "vllm/vllm-openai:v0.32.0", copies: tuple[int, int] = (2, 2), **container: Any) -> Any:
    return (*make.prefill_and_decode(copies, image=image, **container), ROUTER)


def sglang(image: str = "lmsysorg/sglang:v0.5.9", copies: tuple[int, int] = (1, 1)) -> Any:
    prefiller, decoder = make.prefill_and_decode(copies, image=image)
    for role in (prefiller, decoder):
        (container,) = role["template"]["spec"]["containers"]
        container["command"] = ["python3", "-m", "sglang.launch_server"]
        container["args"] = ["--model-path", "qwen"]
    return prefiller, decoder, ROUTER


async def pairs(kube: Kube) -> set[tuple[str, str]]:
    """The KV revisions of every prefiller with every decoder that the picker may choose now."""
    user = User(kube)
    selectors = [pool["spec"]["selector"]["matchLabels"].items() for pool in await user.objects(POOLS)]
    known = [
        pod["metadata"]["labels"]
        for pod in await user.objects(PODS)
        if is_ready(pod) and any(selector <= pod["metadata"]["labels"].items() for selector in selectors)
    ]
    of = {kind: {labels[names.KV_REVISION] for labels in known if labels[names.COMPONENT_TYPE_LABEL] == kind}
          for kind in ("prefiller", "decoder")}  # fmt: skip
    return {(one, other) for one in of["prefiller"] for other in of["decoder"]}


def is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ends = pod["metadata"].get("deletionTimestamp")
    return not ends and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Story(test_router.Story):
    """Whoever writes, it is looked which sides could be paired."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[set[tuple[str, str]]] = []
        self.pools_at_release: list[Manifest] = []
        """Which pods the picker knew when a workload was written."""
        self.readiness: list[str] = []
        """What was said of it, one word after the other."""
        self.pools_are_slow = False
        """Writes of pools take ten seconds."""
        plain = self.memory.send

        async def looking(request: Request) -> bytes:
            if (
                "/statefulsets/" in request.path
                and request.method == "PATCH"
                and await User(self.memory).objects(POOLS)
            ):
                self.pools_at_release.append(await pool_of(self))
            if self.pools_are_slow and "/inferencepools/" in request.path and request.method == "PATCH":
                await asyncio.sleep(10)
            answer = await plain(request)
            if request.method != "GET":
                self.seen.append(await pairs(self.memory))
            if request.method == "PATCH" and request.path.endswith("/inferenceservices/qwen/status"):
                self.readiness.append(await self.said("Ready"))
            return answer

        self.server.kube = _Sending(self.memory, looking)

    @property
    def mixed(self) -> list[set[tuple[str, str]]]:
        return [seen for seen in self.seen if any(one != other for one, other in seen)]


class _Sending:
    def __init__(self, kube: Kube, send: Any) -> None:
        self.send = send
        self.stream = kube.stream


def play(tell: Any) -> None:
    async def told() -> None:
        story = Story()
        async with story.told():
            await tell(story)

    virtual.run(told())


async def pool_of(story: Story) -> Manifest:
    (pool,) = await story.user.objects(POOLS)
    return dict(pool["spec"]["selector"]["matchLabels"])


def test_a_new_image_on_both_sides_pairs_no_two_revisions_and_somebody_answers() -> None:
    async def tell(story: Story) -> None:
        await story.serves(*sides())
        assert names.COMPONENT_TYPE_LABEL not in await pool_of(story)
        story.seen.clear()
        story.pools_at_release.clear()

        story.readiness.clear()
        await story.user.apply("qwen", *sides("vllm/vllm-openai:v0.33.0"))
        await asyncio.sleep(1)
        assert story.readiness == ["False/RollingOut"]
        assert (await pool_of(story))[names.COMPONENT_TYPE_LABEL] == "decoder"
        await asyncio.sleep(test_router.SETTLED_SECONDS)

        assert story.mixed == []
        assert await story.said("Ready") == "True/Ready"
        assert await story.said("RouterReady") == "True/Routing"
        assert names.COMPONENT_TYPE_LABEL not in await pool_of(story)
        assert len(story.seen[-1]) == 1
        assert {pool[names.COMPONENT_TYPE_LABEL] for pool in story.pools_at_release} == {"decoder"}
        assert sorted(story.kube.of_children) == [
            "inferencepools/qwen-entry", "inferencepools/qwen-entry", "statefulsets/qwen-decode",
            "statefulsets/qwen-prefill",
        ]  # fmt: skip

    play(tell)


def test_no_template_is_released_before_the_picker_knows_the_decoders_alone() -> None:
    async def tell(story: Story) -> None:
        await story.serves(*sides())
        story.seen.clear()
        story.pools_at_release.clear()
        story.pools_are_slow = True

        await story.applies(*sides("vllm/vllm-openai:v0.33.0"))
        await asyncio.sleep(test_router.SETTLED_SECONDS)

        assert story.mixed == []
        assert {pool[names.COMPONENT_TYPE_LABEL] for pool in story.pools_at_release} == {"decoder"}
        assert await story.said("RouterReady") == "True/Routing"

    play(tell)


@pytest.mark.parametrize(
    "container",
    [{"env": [{"name": "A", "value": "b"}]}, {"resources": {"requests": {"cpu": "2"}}}],
    ids=["env", "resources"],
)
def test_a_change_that_both_revisions_understand_leaves_the_sides_paired(container: Manifest) -> None:
    async def tell(story: Story) -> None:
        await story.serves(*sides())

        await story.applies(*sides(**container))

        assert "inferencepools/qwen-entry" not in story.kube.of_children
        assert await story.said("Ready") == "True/Ready"

    play(tell)


async def known(story: Story) -> set[str]:
    """What every picker is told of its pods, by its arguments."""
    return {
        word.partition("=")[2]
        for pod in await User(story.memory).objects(PODS)
        for container in pod["spec"].get("initContainers", ())
        for word in container["args"]
        if word.startswith("--endpoint-selector")
    }


def test_where_pickers_are_told_by_arguments_the_templates_wait_for_their_pods() -> None:
    async def tell(story: Story) -> None:
        router = make.a_router(pickerRelease="llm-d-router-0.10", replicas=2)
        *before, _ = sides()
        *after, _ = sides("vllm/vllm-openai:v0.33.0")
        await story.serves(*before, router)
        released: list[set[str]] = []
        plain = story.server.kube

        async def looking(request: Request) -> bytes:
            if request.method == "PATCH" and request.path.endswith(("/qwen-prefill", "/qwen-decode")):
                released.append(await known(story))
            return await plain.send(request)

        story.server.kube = _Sending(plain, looking)
        await story.applies(*after, router)
        await asyncio.sleep(test_router.SETTLED_SECONDS)

        assert await story.said("RouterReady") == "True/Routing"
        assert released
        assert all("decoder" in told for selectors in released for told in selectors)
        assert not any("decoder" in told for told in await known(story))

    play(tell)


def test_one_sides_image_alone_leaves_the_decoders_alone_and_says_so() -> None:
    async def tell(story: Story) -> None:
        await story.serves(*sides())
        prefiller, _, _ = sides("vllm/vllm-openai:v0.33.0")
        _, decoder, _ = sides()
        story.seen.clear()

        await story.applies(prefiller, decoder, ROUTER)

        assert story.mixed == []
        assert "statefulsets/qwen-decode" not in story.kube.of_children
        assert await story.said("RouterReady") == "True/DecodersAlone"
        assert (await pool_of(story))[names.COMPONENT_TYPE_LABEL] == "decoder"
        story.kube.clear()
        await asyncio.sleep(60)
        assert story.kube.writes == []

        await story.applies(*sides("vllm/vllm-openai:v0.33.0"))
        assert story.mixed == []
        assert await story.said("RouterReady") == "True/Routing"

    play(tell)


def test_decoders_that_cannot_answer_alone_are_held_back_until_one_side_is_empty() -> None:
    async def tell(story: Story) -> None:
        await story.applies(*sglang())
        assert await story.said("Ready") == "True/Ready"
        story.seen.clear()
        story.kube.clear()
        new = "lmsysorg/sglang:v0.5.10"

        await story.applies(*sglang(new))
        assert await story.said("Progressing") == "False/UpdateHeld"
        assert await story.said("Stalled") == "True/UpdateHeld"
        assert await story.said("Available") == "True/Serving"
        assert story.kube.of_children == []

        await story.applies(*sglang(new, (0, 1)))
        assert await story.said("Available") == "False/NoPrefillerReady"
        await story.applies(*sglang(new))
        assert await story.said("Ready") == "True/Ready"
        assert story.mixed == []

    play(tell)
