"""What the CRD cannot say: who may ask for which pods. A ValidatingAdmissionPolicy, in the API server's CEL.

Whoever may create InferenceServices gets pods through us. They are pods as anybody may have them (Pod Security
Standards, level baseline, under a service account without rights), unless that user may create pods in the namespace:
then nothing is gained through us that cannot be had without.

The controls are the checks of level baseline in k8s.io/pod-security-admission/policy, by their IDs there and in the
newest of their versions, and one of our own about service accounts. Why: docs/decisions/0015.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fusioninfer.api import types

Manifest = dict[str, Any]

API_VERSION = "admissionregistration.k8s.io/v1"
NAME = "fusioninfer-pods"
"""Of the policy and of its binding; a refusal begins with it."""

PLACES = ("template", "multinode.workerTemplate")
"""Where in a role pod templates stand."""
OWN_CHECK = "serviceAccount"


@dataclass(frozen=True, slots=True)
class Control:
    """Something of a pod, or of a container, that not everybody may ask for."""

    check: str
    """The ID of the check in pod-security-admission, or our own."""
    field: str
    """What the refusal blames: from the template on, or from the container on."""
    broken: str
    """CEL: the template `p`, or the container `c` in it, asks for it. What is absent asks for nothing."""

    @property
    def word(self) -> str:
        """The field as CEL takes it for a name."""
        return re.sub(r"\W+", "_", self.field).strip("_")


def _other(path: str, *allowed: str) -> str:
    """CEL: the text at `path` is there, and none of those."""
    return f"!({path}.orValue('{allowed[0]}') in {list(allowed)})"


def _any(*several: str) -> str:
    return " || ".join(several)


def _selinux(options: str) -> str:
    types_of_containers = ("container_t", "container_init_t", "container_kvm_t", "container_engine_t")
    return _any(
        _other(f"{options}.?type", "", *types_of_containers),
        f"{options}.?user.orValue('') != ''",
        f"{options}.?role.orValue('') != ''",
    )


def _profile(profile: str) -> str:
    return _other(f"{profile}.?type", "RuntimeDefault", "Localhost")


def _elsewhere(handler: str) -> str:
    return _any(*(f"c.spec.?{handler}.?{way}.?host.orValue('') != ''" for way in ("httpGet", "tcpSocket")))


SYSCTLS = [
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
]  # fmt: skip
CAPABILITIES = [
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
]  # fmt: skip
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
"""Before a container's name: the annotation that said its profile before there was a field, and still does."""

_OF_POD, _OF_CONTAINER = "p.spec.?securityContext", "c.spec.?securityContext"

OF_PODS = (
    Control("hostNamespaces", "spec.hostNetwork", "p.spec.?hostNetwork.orValue(false)"),
    Control("hostNamespaces", "spec.hostPID", "p.spec.?hostPID.orValue(false)"),
    Control("hostNamespaces", "spec.hostIPC", "p.spec.?hostIPC.orValue(false)"),
    Control("hostPathVolumes", "spec.volumes[].hostPath", "p.spec.?volumes.orValue([]).exists(v, has(v.hostPath))"),
    Control(
        "sysctls", "spec.securityContext.sysctls",
        f"{_OF_POD}.?sysctls.orValue([]).exists(s, !(s.name in {SYSCTLS}))",
    ),
    Control("seLinuxOptions", "spec.securityContext.seLinuxOptions", _selinux(f"{_OF_POD}.?seLinuxOptions")),
    Control("seccompProfile_baseline", "spec.securityContext.seccompProfile", _profile(f"{_OF_POD}.?seccompProfile")),
    Control("appArmorProfile", "spec.securityContext.appArmorProfile", _profile(f"{_OF_POD}.?appArmorProfile")),
    Control(
        "appArmorProfile", f"metadata.annotations[{APPARMOR}*]",
        f"p.metadata.?annotations.orValue({{}}).exists(k, k.startsWith('{APPARMOR}')"
        " && !p.metadata.annotations[k].matches('^(|runtime/default|localhost/.*)$'))",
    ),
    Control(
        "windowsHostProcess", "spec.securityContext.windowsOptions.hostProcess",
        f"{_OF_POD}.?windowsOptions.?hostProcess.orValue(false)",
    ),
    Control(OWN_CHECK, "spec.serviceAccountName", _other("p.spec.?serviceAccountName", "", "default")),
    Control(OWN_CHECK, "spec.serviceAccount", _other("p.spec.?serviceAccount", "", "default")),
)  # fmt: skip
OF_CONTAINERS = (
    Control("privileged", "securityContext.privileged", f"{_OF_CONTAINER}.?privileged.orValue(false)"),
    Control(
        "capabilities_baseline", "securityContext.capabilities.add",
        f"{_OF_CONTAINER}.?capabilities.?add.orValue([]).exists(a, !(a in {CAPABILITIES}))",
    ),
    Control("hostPorts", "ports[].hostPort", "c.spec.?ports.orValue([]).exists(o, o.?hostPort.orValue(0) != 0)"),
    Control(
        "procMount", "securityContext.procMount",
        f"p.spec.?hostUsers.orValue(true) && {_other(f'{_OF_CONTAINER}.?procMount', 'Default')}",
    ),
    Control("seLinuxOptions", "securityContext.seLinuxOptions", _selinux(f"{_OF_CONTAINER}.?seLinuxOptions")),
    Control("seccompProfile_baseline", "securityContext.seccompProfile", _profile(f"{_OF_CONTAINER}.?seccompProfile")),
    Control("appArmorProfile", "securityContext.appArmorProfile", _profile(f"{_OF_CONTAINER}.?appArmorProfile")),
    Control(
        "windowsHostProcess", "securityContext.windowsOptions.hostProcess",
        f"{_OF_CONTAINER}.?windowsOptions.?hostProcess.orValue(false)",
    ),
    Control("hostProbesAndHostLifecycle", "livenessProbe", _elsewhere("livenessProbe")),
    Control("hostProbesAndHostLifecycle", "readinessProbe", _elsewhere("readinessProbe")),
    Control("hostProbesAndHostLifecycle", "startupProbe", _elsewhere("startupProbe")),
    Control("hostProbesAndHostLifecycle", "lifecycle.postStart", _elsewhere("lifecycle.?postStart")),
    Control("hostProbesAndHostLifecycle", "lifecycle.preStop", _elsewhere("lifecycle.?preStop")),
)  # fmt: skip


def admission_manifests() -> tuple[Manifest, ...]:
    """All of it, in the order in which to apply it."""
    return policy(), binding()


def policy() -> Manifest:
    """The policy. A spec that did not change is never refused, nor is the status looked at."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [types.GROUP],
                        "apiVersions": [types.VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [types.PLURAL],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "spec-changed",
                    "expression": "request.operation == 'CREATE' || object.spec != oldObject.spec",
                }
            ],
            "variables": [{"name": name, "expression": expression} for name, expression in _variables().items()],
            "validations": [
                {
                    "expression": "variables.found.size() == 0 || variables.mayCreatePods",
                    "reason": "Forbidden",
                    "messageExpression": _MESSAGE,
                    "message": "pod templates ask for what is for who may create pods in this namespace",
                }
            ],
        },
    }


def binding() -> Manifest:
    """Puts the policy in force, in all namespaces."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }


def _variables() -> dict[str, str]:
    """Each finding has one of its own, since the API server bounds what a single expression may cost."""
    found = {
        **{f"pod_{control.word}": _in_pods(control) for control in OF_PODS},
        **{f"container_{control.word}": _in_containers(control) for control in OF_CONTAINERS},
    }
    return {
        "templates": "\n+ ".join(map(_templates, PLACES)),
        "pods": _PODS,
        **found,
        "found": "\n+ ".join(f"variables.{name}" for name in found),
        "told": "variables.found.join('; ')",
        "mayCreatePods": "authorizer.group('').resource('pods').namespace(request.namespace).check('create').allowed()",
    }


# CEL wants lists and maps of one type each: `dyn` is a value whose type it does not ask for.


def _templates(place: str) -> str:
    path = ".?".join(("r", *place.split(".")))
    each = f"{{'at': dyn('role ' + r.name + ': {place}'), 'template': dyn({path}.value())}}"
    return f"dyn(object.spec.roles).filter(r, {path}.hasValue()).map(r, {each})"


_PODS = """\
variables.templates.map(t, {
  'at': t.at,
  'metadata': t.template.?metadata.orValue({}),
  'spec': t.template.?spec.orValue({}),
  'containers': dyn(
    t.template.?spec.?initContainers.orValue([])
      .map(c, {'at': dyn('spec.initContainers[' + c.name + ']'), 'spec': c})
    + t.template.?spec.?containers.orValue([])
      .map(c, {'at': dyn('spec.containers[' + c.name + ']'), 'spec': c})
  )
})"""


def _in_pods(control: Control) -> str:
    return f"variables.pods.filter(p, {control.broken}).map(p, p.at + '.{control.field}')"


def _in_containers(control: Control) -> str:
    """One text for each pod: CEL does not flatten lists."""
    in_one = f"p.containers.filter(c, {control.broken}).map(c, p.at + '.' + c.at + '.{control.field}').join('; ')"
    return f"variables.pods.map(p, {in_one}).filter(text, text != '')"


TOLD = 4000
"""How much of what was found is told, in characters: beyond 5120 the API server would not take the message at all."""

_MESSAGE = f"""\
(variables.told.size() <= {TOLD} ? variables.told : variables.told.substring(0, {TOLD}) + ' ...')
+ ': this is for who may create pods in namespace ' + request.namespace + ', and ' + request.userInfo.username
+ ' may not: leave it out, or let somebody apply it who may'"""
