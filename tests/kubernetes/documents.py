"""Reads YAML documents from standard input and writes them as one JSON list.

PyYAML takes a key that is given twice, where Kubernetes' own tools do not: here it is an error.
"""

import json
import sys

import yaml


class Strict(yaml.SafeLoader):
    """Refuses keys that are given twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"given twice: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


documents = [document for document in yaml.load_all(sys.stdin.read(), Strict) if document is not None]
json.dump(documents, sys.stdout)
