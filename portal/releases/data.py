"""A release and its builds as data for programs: what commands print as JSON and the door for tokens answers."""

from typing import Any

from portal.releases.models import Build, Release


def release_data(found: Release) -> dict[str, Any]:
    """Return a release with its builds. Instants are ISO 8601, in UTC."""
    return {
        "product": found.product.slug,
        "version": found.version,
        "channel": found.channel.value,
        "kind": found.kind.value,
        "state": found.state.value,
        "scheduled_for": found.scheduled_for.isoformat() if found.scheduled_for else None,
        "published_at": found.published_at.isoformat() if found.published_at else None,
        "builds": [build_data(one) for one in found.builds],
    }


def build_data(build: Build) -> dict[str, Any]:
    """Return a build; `size` is in bytes."""
    return {
        "filename": build.filename,
        "kind": build.kind.value,
        "platform": build.platform,
        "architecture": build.architecture,
        "size": build.size,
        "sha256": build.sha256,
        "signed": build.signature is not None,
        "damaged": build.damaged_at is not None,
    }
