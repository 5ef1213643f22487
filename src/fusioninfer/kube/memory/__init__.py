"""An API server in memory: a `Kube` without a cluster, for stories, `fusioninfer diff` and tests.

It does what API server 1.36.3 was seen to do (tests/contract asks both the same), as far as it goes:

- GET, list by pages, watch, server-side apply, merge patch, POST, PUT, DELETE; status and scale; label selectors;
  PartialObjectMetadata; resourceVersions over all kinds; managedFields; finalizers; the garbage collector, at once.
- No values are checked, only their types and list keys: no CEL, no `required`, `enum`, formats, bounds or names.
- Nothing is defaulted but the keys of list items, nothing normalised: `1000m` stays, no clusterIP, no status.
- No admission, no authorization, no quota, no namespaces: every namespace exists.
- No controllers but the garbage collector, and no grace: a pod that is deleted is gone.
- Bodies are JSON. No YAML, JSON patch, strategic merge patch, field selectors, dry run, delete of collections, apply to
  scale; `generateName` is not followed; managedFields cannot be written.
- A scale without a selector; to scale to the number that is there already changes no managedFields, where a real one
  may split an entry.
- One version of each kind. A status write changes no metadata, which on a real one goes for custom resources alone.
"""

from fusioninfer.kube.memory.kinds import Served
from fusioninfer.kube.memory.server import MERGE_PATCH, MemoryServer

__all__ = ["MERGE_PATCH", "MemoryServer", "Served"]
