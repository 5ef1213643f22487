"""Pod templates that ask for what not everybody may have, and some that only look like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusioninfer.api.admission import APPARMOR, OWN_CHECK
from fusioninfer.api.service import Manifest


@dataclass(frozen=True, slots=True)
class Escape:
    """A template that breaks one control."""

    id: str
    check: str
    """The control's: an ID in pod-security-admission, or our own."""
    says: str
    """The field, as the refusal names it."""
    template: Manifest
    pod_exists: bool = True
    """Kubernetes would take such a pod, were it not for Pod Security."""


def a_pod(*, metadata: Manifest | None = None, **spec: Any) -> Manifest:
    """A template of one harmless container, with `spec` added."""
    template = {"spec": {"containers": [{"name": "engine", "image": "engine:1", "command": ["serve"]}], **spec}}
    return {**template, "metadata": metadata} if metadata else template


def a_container(**fields: Any) -> Manifest:
    """A template whose container has `fields` too."""
    return a_pod(containers=[{"name": "engine", "image": "engine:1", "command": ["serve"], **fields}])


def an_init_container(**fields: Any) -> Manifest:
    """A template with another container before, which has `fields`."""
    return a_pod(initContainers=[{"name": "fetch", "image": "fetch:1", **fields}])


def _security(**fields: Any) -> Manifest:
    return {"securityContext": fields}


def _of_pod(case: str, check: str, field: str, template: Manifest) -> Escape:
    return Escape(case, check, f"template.{field}", template)


def _of_container(case: str, check: str, field: str, **fields: Any) -> Escape:
    return Escape(case, check, f"template.spec.containers[engine].{field}", a_container(**fields))


ESCAPES = (
    _of_pod("host network", "hostNamespaces", "spec.hostNetwork", a_pod(hostNetwork=True)),
    _of_pod("host processes", "hostNamespaces", "spec.hostPID", a_pod(hostPID=True)),
    _of_pod("host memory", "hostNamespaces", "spec.hostIPC", a_pod(hostIPC=True)),
    _of_pod(
        "host files", "hostPathVolumes", "spec.volumes[].hostPath",
        a_pod(volumes=[{"name": "scratch", "emptyDir": {}}, {"name": "root", "hostPath": {"path": "/"}}]),
    ),
    _of_pod(
        "sysctl of the node", "sysctls", "spec.securityContext.sysctls",
        a_pod(**_security(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
    ),
    _of_pod(
        "another SELinux type", "seLinuxOptions", "spec.securityContext.seLinuxOptions",
        a_pod(**_security(seLinuxOptions={"type": "spc_t"})),
    ),
    _of_pod(
        "an SELinux user", "seLinuxOptions", "spec.securityContext.seLinuxOptions",
        a_pod(**_security(seLinuxOptions={"user": "system_u"})),
    ),
    _of_pod(
        "an SELinux role", "seLinuxOptions", "spec.securityContext.seLinuxOptions",
        a_pod(**_security(seLinuxOptions={"role": "system_r"})),
    ),
    _of_pod(
        "no seccomp", "seccompProfile_baseline", "spec.securityContext.seccompProfile",
        a_pod(**_security(seccompProfile={"type": "Unconfined"})),
    ),
    _of_pod(
        "no AppArmor", "appArmorProfile", "spec.securityContext.appArmorProfile",
        a_pod(**_security(appArmorProfile={"type": "Unconfined"})),
    ),
    _of_pod(
        "no AppArmor by annotation", "appArmorProfile", f"metadata.annotations[{APPARMOR}*]",
        a_pod(metadata={"annotations": {f"{APPARMOR}engine": "unconfined", "note": "x"}}),
    ),
    Escape(
        "a Windows process of the host", "windowsHostProcess",
        "template.spec.securityContext.windowsOptions.hostProcess",
        a_pod(hostNetwork=True, **_security(windowsOptions={"hostProcess": True, "runAsUserName": "SYSTEM"})),
    ),
    _of_pod("a foreign account", OWN_CHECK, "spec.serviceAccountName", a_pod(serviceAccountName="deployer")),
    _of_pod("a foreign account by its old name", OWN_CHECK, "spec.serviceAccount", a_pod(serviceAccount="deployer")),
    _of_container("privileged", "privileged", "securityContext.privileged", **_security(privileged=True)),
    Escape(
        "privileged before the others", "privileged",
        "template.spec.initContainers[fetch].securityContext.privileged",
        an_init_container(**_security(privileged=True)),
    ),
    Escape(
        "privileged sidecar", "privileged",
        "template.spec.initContainers[fetch].securityContext.privileged",
        an_init_container(restartPolicy="Always", **_security(privileged=True)),
    ),
    _of_container(
        "a capability", "capabilities_baseline", "securityContext.capabilities.add",
        **_security(capabilities={"add": ["CHOWN", "SYS_ADMIN"]}),
    ),
    _of_container(
        "all capabilities", "capabilities_baseline", "securityContext.capabilities.add",
        **_security(capabilities={"add": ["ALL"]}),
    ),
    _of_container(
        "a port of the host", "hostPorts", "ports[].hostPort",
        ports=[{"containerPort": 8000}, {"containerPort": 8001, "hostPort": 8001}],
    ),
    Escape(
        "an unmasked /proc", "procMount", "template.spec.containers[engine].securityContext.procMount",
        a_container(**_security(procMount="Unmasked")), pod_exists=False,
    ),
    _of_container(
        "another SELinux type of a container", "seLinuxOptions", "securityContext.seLinuxOptions",
        **_security(seLinuxOptions={"type": "spc_t"}),
    ),
    _of_container(
        "no seccomp in a container", "seccompProfile_baseline", "securityContext.seccompProfile",
        **_security(seccompProfile={"type": "Unconfined"}),
    ),
    _of_container(
        "no AppArmor in a container", "appArmorProfile", "securityContext.appArmorProfile",
        **_security(appArmorProfile={"type": "Unconfined"}),
    ),
    Escape(
        "a Windows container of the host", "windowsHostProcess",
        "template.spec.containers[engine].securityContext.windowsOptions.hostProcess",
        a_pod(
            hostNetwork=True,
            containers=[
                {"name": "engine", "image": "engine:1", "command": ["serve"],
                 **_security(windowsOptions={"hostProcess": True, "runAsUserName": "SYSTEM"})}
            ],
        ),
    ),
    *(
        _of_container(
            f"{probe} of another host", "hostProbesAndHostLifecycle", probe,
            **{probe: {"httpGet": {"port": 8000, "host": "169.254.169.254"}}},
        )
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
    ),
    _of_container(
        "a connection to another host", "hostProbesAndHostLifecycle", "livenessProbe",
        livenessProbe={"tcpSocket": {"port": 22, "host": "10.0.0.1"}},
    ),
    *(
        _of_container(
            f"{moment} of another host", "hostProbesAndHostLifecycle", f"lifecycle.{moment}",
            lifecycle={moment: {"httpGet": {"port": 8000, "host": "169.254.169.254"}}},
        )
        for moment in ("postStart", "preStop")
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Harmless:
    """A template that anybody may have."""

    id: str
    template: Manifest


HARMLESS = (
    Harmless("nothing special", a_pod()),
    Harmless("the default account", a_pod(serviceAccountName="default", serviceAccount="default")),
    Harmless("an account of no name", a_pod(serviceAccountName="")),
    Harmless("no token", a_pod(automountServiceAccountToken=False)),
    Harmless("host namespaces refused", a_pod(hostNetwork=False, hostPID=False, hostIPC=False, hostUsers=False)),
    Harmless(
        "volumes of the namespace",
        a_pod(
            volumes=[
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
                {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
                {"name": "token", "secret": {"secretName": "hf"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}},
            ]
        ),
    ),
    Harmless("a safe sysctl", a_pod(**_security(sysctls=[{"name": "net.ipv4.tcp_rmem", "value": "1 2 3"}]))),
    Harmless("SELinux level alone", a_pod(**_security(seLinuxOptions={"level": "s0:c1,c2", "type": "container_t"}))),
    Harmless(
        "profiles as they are shipped",
        a_pod(**_security(seccompProfile={"type": "RuntimeDefault"}, appArmorProfile={"type": "RuntimeDefault"})),
    ),
    Harmless(
        "profiles of the node",
        a_container(**_security(
            seccompProfile={"type": "Localhost", "localhostProfile": "a.json"},
            appArmorProfile={"type": "Localhost", "localhostProfile": "a"},
        )),
    ),
    Harmless(
        "an AppArmor profile of the node by annotation",
        a_pod(metadata={"annotations": {f"{APPARMOR}engine": "localhost/a"}}),
    ),
    Harmless("capabilities that all have", a_container(**_security(capabilities={"add": ["CHOWN"], "drop": ["ALL"]}))),
    Harmless("not privileged", a_container(**_security(privileged=False, allowPrivilegeEscalation=False))),
    Harmless("ports of the pod", a_container(ports=[{"containerPort": 8000, "hostPort": 0}])),
    Harmless("the usual /proc", a_container(**_security(procMount="Default"))),
    Harmless("an init container", an_init_container(command=["fetch"])),
    Harmless("a probe of itself", a_container(livenessProbe={"httpGet": {"port": 8000, "host": ""}})),
    Harmless("a command when it ends", a_container(lifecycle={"preStop": {"exec": {"command": ["sleep", "1"]}}})),
    Harmless(
        "an unmasked /proc among users of its own",
        a_pod(
            hostUsers=False,
            containers=[{"name": "engine", "image": "engine:1", **_security(procMount="Unmasked")}],
        ),
    ),
)  # fmt: skip


def a_service(template: Manifest, name: str = "escaping") -> Manifest:
    """A service that has `template` wherever there may be one."""
    return {
        "apiVersion": "fusioninfer.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "roles": [
                {
                    "name": "inference", "componentType": "worker", "engine": "custom", "replicas": 0,
                    "template": template, "multinode": {"nodeCount": 2, "workerTemplate": template},
                },
                {"name": "entry", "componentType": "router", "strategy": "queue-size", "template": template},
            ]
        },
    }  # fmt: skip


def places(says: str) -> tuple[str, ...]:
    """Where a refusal of `a_service` names the field that is `says`, from the template on."""
    field = says.removeprefix("template.")
    return (
        f"role inference: template.{field}",
        f"role inference: multinode.workerTemplate.{field}",
        f"role entry: template.{field}",
    )
