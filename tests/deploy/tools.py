"""What the deployment tests ask of tools from PyPI: Helm's own library and Kubernetes' schemas.

Reads one JSON value from stdin and writes one to stdout.
"""

import json
import sys


def lint(request):
    """Findings of `helm lint` that are warnings or worse."""
    from helm_python.chart import lint

    report = lint(request["chart"])
    return [m["error"] for m in report["messages"] if m["severity"] > 1] + report["errors"]


def render(request):
    """The chart as it would be installed with these values, or why it cannot be."""
    from helm_python.chart import Chart
    from helm_python.errors import HelmError

    with Chart.load(request["chart"]) as chart:
        try:
            files = chart.render(
                values=request["values"], name=request["name"], namespace=request["namespace"]
            )
        except HelmError as error:
            return {"refused": str(error)}
        return {"files": files, "crds": {crd["name"]: crd["data"] for crd in chart.crds}}


def validate(request):
    """What is wrong with objects by the schemas of a Kubernetes version, unknown fields included."""
    import kubernetes_validate

    problems = []
    for value in request["objects"]:
        name = f"{value.get('kind')}/{value.get('metadata', {}).get('name')}"
        try:
            kubernetes_validate.validate(value, request["version"], strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            problems.append(f"{name}: no schema")
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(step) for step in error.absolute_path)
            problems.append(f"{name}: {path}: {error.message}")
    return problems


def against(request):
    """What is wrong with values by a JSON schema."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(request["schema"])
    return [
        [error.message for error in validator.iter_errors(value)] for value in request["values"]
    ]


if __name__ == "__main__":
    verbs = {"lint": lint, "render": render, "validate": validate, "against": against}
    json.dump(verbs[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
