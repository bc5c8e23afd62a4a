"""Holds documents against Kubernetes' own schemas, in which an unknown field is an error.

Reads from standard input {"version": "1.37", "documents": […]}, and writes a list: of each document, null or what is
wrong with it. The schemas come with the package kubernetes-validate.
"""

import functools
import json
import sys

from jsonschema.validators import Draft202012Validator
from kubernetes_validate import utils


def first_mistake(self, instance):
    """In the place of the best one, for which all would have to be found."""
    for error in self.iter_errors(instance):
        raise error


Draft202012Validator.validate = first_mistake

# Read once, and not for each document.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
utils.all_versions = functools.lru_cache(maxsize=None)(utils.all_versions)


def mistake(document, version):
    try:
        used = utils.validate(document, version, strict=True)
    except utils.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except utils.SchemaNotFoundError as error:
        return error.message
    return None if used == version else f"held against {used}, since {version} is not there"


asked = json.load(sys.stdin)
json.dump([mistake(document, asked["version"]) for document in asked["documents"]], sys.stdout)
