"""Validates Kubernetes resources strictly: validate.py FOLDER_OF_CRDS VERSION,VERSION FILE...

Kinds of the core are held against kubernetes-validate's schemas of each version, all others against
the folder's CustomResourceDefinitions. A kind that neither has is an error.
"""

import functools
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

utils.schema_contents = functools.lru_cache(None)(utils.schema_contents)  # it reads megabytes for each resource


def strict(schema):
    """Has schema refuse keys that it does not name, as the server's strict decoding does."""
    for child in schema.get("properties", {}).values():
        strict(child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            strict(schema[key])
    if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    return schema


folder, versions, files = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
crds = {}
for path in pathlib.Path(folder).glob("*.yaml"):
    crd = yaml.load(path.read_text(), yaml.CSafeLoader)
    for version in crd["spec"]["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
        crds[crd["spec"]["group"] + "/" + version["name"], crd["spec"]["names"]["kind"]] = schema

count, bad = 0, 0
for file in files:
    for resource in filter(None, yaml.load_all(pathlib.Path(file).read_text(), yaml.CSafeLoader)):
        crd = crds.get((resource["apiVersion"], resource["kind"]))
        for version in versions:
            count += 1
            try:
                if crd:
                    jsonschema.Draft202012Validator(crd).validate(resource)
                else:
                    kubernetes_validate.validate(resource, version, strict=True)
            except (jsonschema.ValidationError, utils.ValidationError, utils.SchemaNotFoundError) as e:
                bad += 1
                where = "/".join(map(str, getattr(e, "absolute_path", [])))
                print(f"{file}: {resource['kind']} {resource['metadata']['name']}, {version}: {where}: {e.message}")
print(f"{count} validations, {bad} failed")
sys.exit(1 if bad or not count else 0)
