"""What every component shares: its type token, its tags, and how what holds data is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import pulumi

from infra import naming

Configuration = TypeVar("Configuration", bound=naming.Place)


class Component(pulumi.ComponentResource, Generic[Configuration]):
    """A group of resources of type `art32:<area>:<Class>`; each child's parent is this.

    Providers are explicit: a component gets one, its children inherit it.
    """

    area: str

    def __init__(
        self, name: str, config: Configuration, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(f"art32:{self.area}:{type(self).__name__}", name, {}, options)
        self.config = config

    def child(self, **options: Any) -> pulumi.ResourceOptions:
        """Return the options of a child that can be made anew from the program."""
        return pulumi.ResourceOptions(parent=self, **options)

    def kept(self, **options: Any) -> pulumi.ResourceOptions:
        """Return the options of a child that holds data, or without which data is lost.

        Protected and retained, both said of the resource itself: components do not hand `retain`
        down, and the engine reads both from the state of the last `up`. A stack that is ephemeral
        keeps nothing.
        """
        keep = not self.config.ephemeral
        return pulumi.ResourceOptions(parent=self, protect=keep, retain_on_delete=keep, **options)

    def tags(self, name: str, **more: Any) -> Mapping[str, str]:
        """Return a child's tags; see `naming.tags`."""
        return naming.tags(self.config, self.area, name, **more)
