"""Agents: registered from files, published, and brought to work as built-in instances."""

from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from guardian import services as guardian
from guardian.authority import WORKER, Actor
from guardian.models import Team, User
from guardian.outbox import emit
from orchestrator import agent_schema, events
from orchestrator.agent_schema import AgentSpec
from orchestrator.errors import VersionImmutable
from orchestrator.models import AgentDefinition, AgentInstance, AgentVersion, RuntimeSwitch
from orchestrator.services.triggers import newest_published, refresh_triggers
from tools import services as tools

BUILT_IN = ("repo_inventory", "repo_checks", "repo_report")


@transaction.atomic
def register_version(
    *, team: Team, spec: AgentSpec, actor: Actor | None = None
) -> tuple[AgentVersion, bool]:
    """Store a version of an agent as a draft: (version, new). The same content again is known.

    An existing draft is replaced. Raises VersionImmutable for other content of a published one.
    """
    content = agent_schema.content_of(spec)
    digest = agent_schema.digest(content)
    definition, made = AgentDefinition.objects.get_or_create(
        team=team, slug=spec.metadata.id, defaults={"name": spec.metadata.name}
    )
    if not made:
        AgentDefinition.objects.select_for_update().get(pk=definition.pk)
    known = definition.versions.filter(version=spec.metadata.version).first()
    if known is not None and known.content_hash == digest:
        return known, False
    if known is not None and known.state != AgentVersion.State.DRAFT:
        raise VersionImmutable(
            f"Version {known.version} of {definition.slug} is {known.state}; raise the version."
        )
    if known is not None:
        known.content, known.content_hash = content, digest
        known.tags = spec.metadata.tags
        known.revision += 1
        known.save(update_fields=["content", "content_hash", "tags", "revision", "updated_at"])
        version, new = known, False
    else:
        version = AgentVersion.objects.create(
            team=team,
            definition=definition,
            version=spec.metadata.version,
            content=content,
            content_hash=digest,
            tags=spec.metadata.tags,
        )
        new = True
    emit(
        events.AGENT_REGISTERED,
        subject=version,
        actor=actor,
        slug=definition.slug,
        version=version.version,
    )
    return version, new


@transaction.atomic
def publish_version(
    *, version: AgentVersion, actor: Actor | None = None, reason: str = ""
) -> AgentVersion:
    """From now on its content is fixed and instances may start from it."""
    version = AgentVersion.objects.select_for_update().get(pk=version.pk)
    if version.state == AgentVersion.State.PUBLISHED:
        return version
    version.publish()
    version.save(update_fields=["state", "updated_at"])
    refresh_triggers(definition=version.definition)
    emit(
        events.AGENT_PUBLISHED,
        subject=version,
        actor=actor,
        reason=reason,
        slug=version.definition.slug,
        version=version.version,
    )
    return version


@transaction.atomic
def seed_agents(*, team: Team) -> list[AgentInstance]:
    """The shipped agents of a team, published, each with its user, one instance and its tools.

    Doing it again changes nothing; a version that was shipped newer moves its instance on.
    """
    _serialise_seeding(team)
    RuntimeSwitch.objects.get_or_create(team=team)
    instances = [_seed_agent(team, slug) for slug in BUILT_IN]
    tools.seed_team(team=team, agents=[instance.user for instance in instances])
    return instances


def _serialise_seeding(team: Team) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 41))", [f"agents.seed:{team.pk}"]
        )


@cache
def _shipped(slug: str) -> AgentSpec:
    path = Path(settings.BASE_DIR) / "templates" / "agents" / "builtin" / f"{slug}.yaml"
    return agent_schema.read(path.read_text("utf-8"))


def _seed_agent(team: Team, slug: str) -> AgentInstance:
    spec = _shipped(slug)
    version, _ = register_version(team=team, spec=spec)
    version = publish_version(version=version)
    newest = newest_published(version.definition) or version
    name = spec.metadata.name
    instance = (
        AgentInstance.objects.filter(
            team=team, agent_version__definition=version.definition, runtime="pattern"
        )
        .exclude(state=AgentInstance.State.TERMINATED)
        .first()
    )
    if instance is not None:
        if instance.agent_version_id != newest.pk:
            instance.agent_version = newest
            instance.capabilities = newest.content["skills"]
            instance.save(update_fields=["agent_version", "capabilities", "updated_at"])
        return instance
    instance = AgentInstance.objects.create(
        team=team,
        user=_agent_user(team, slug, name),
        agent_version=newest,
        name=name,
        runtime=AgentInstance.Runtime.PATTERN,
        capabilities=newest.content["skills"],
        capacity=newest.content["config"]["max_parallel_tasks"],
        tags=newest.tags,
    )
    emit(events.AGENT_STARTED, subject=instance, name=name, runtime=instance.runtime)
    return instance


def _agent_user(team: Team, slug: str, name: str) -> User:
    """The user an agent acts as; like every actor it has one membership and nothing more."""
    username = f"{slug}.{team.slug}"
    user = User.objects.filter(username=username).first() or guardian.create_user(
        username=username, kind=User.Kind.AGENT, display_name=name
    )
    guardian.set_membership(user=user, team=team, role="agent", authority=WORKER)
    return user
