"""How values are followed through a step's code: which of its texts become the tracking URI, and what stays outside."""

from __future__ import annotations

import pytest

from trivet.contracts.ir.step_code import Program, read_program, syntax_error

AT = "'http://a'"
IN_CODE = [
    *(f"x = {AT}.{name}()" for name in ("strip", "rstrip", "lstrip", "lower", "upper", "encode", "decode")),
    f"x = {AT}.removesuffix('/')",
    f"x = {AT}.removeprefix('/')",
    f"x = {AT}.replace('b', 'c')",
    *(f"x = {name}({AT})" for name in ("str", "quote", "Path", "PurePath", "os.fspath")),
    "x = b'http://a'",
    "x = base64.urlsafe_b64decode('aHR0cDovL2E=')",
    "x = base64.b64decode(b'aHR0cDovL2E=')",
    "x = 'http:/' + '/' + 'a'",
    "x = Path('http:/') / 'a'",
    "x = os.path.join('http:/', 'a')",
    "x = '/'.join(['http:/', 'a'])",
    f"x = urljoin({AT})",
    "x = '/'.join(('http:/', 'a'))",
    "x = 'http://{}'.format('a')",
    "x = '{}://{}'.format('http', 'a')",
    "x = '{1}://{0}'.format('a', 'http')",
    "x = '{scheme}://{host.name}'.format(scheme='http', host='a')",
    "x = '{0}{1}'.format('http://', 'a')",
    "x = '%s://%s' % ('http', 'a')",
    "x = 'http://%s' % 'a'",
    "x = 'http://%(host)s' % 'a'",
    "x = f'http://{\"a\"}'",
    "x = f'{\"http\"}://a'",
    f"x = {AT} if y else None",
    f"x = None if y else {AT}",
    f"x = y or {AT}",
    f"x = {AT} and y",
    f"x: str = {AT}",
    f"(x := {AT})",
    "x = 'http:'; x += '//a'",
    f"x, y = {AT}, 'b'",
    f"[y, x] = ['b', {AT}]",
    f"for x in [{AT}]: pass",
    f"for x in ({AT},): pass",
    f"for x in {{{AT}}}: pass",
    f"y = {AT}; x = y",
    f"self.x = {AT}; x = other.x",
    f"class A:\n    y = {AT}\nx = A.y",
    f"y = {{'k': {AT}}}; x = y['k']",
    f"y = {{'a': {{'k': {AT}}}}}; x = y['a']['k']",
    f"y = {{1: {AT}}}; x = y[1]",
    f"y = dict(k={AT}); x = y['k']",
    f"y = ['b', {AT}]; x = y[1]",
    f"y = ('b', {AT}); x = y[1]",
    f"self.y = {{'k': {AT}}}; x = self.y['k']",
    f"y = {{'k': {AT}}}; x = y.get('k')",
    f"y = {{'k': {AT}}}; z = y; x = z['k']",
    f"k = 'k'; y = {{'k': {AT}}}; x = y[k]",
    f"def f():\n    return {AT}\nx = f()",
    f"async def f():\n    return {AT}\nx = await f()",
    f"def f(y):\n    return y\nx = f({AT})",
    f"def f(z, y={AT}):\n    return y\nx = f(1)",
    f"def f(*, y={AT}):\n    return y\nx = f()",
    f"def f(*, z, y):\n    return y\nx = f(z=1, y={AT})",
    f"def f(y, /):\n    return y\nx = f({AT})",
    f"class A:\n    def f(self, y):\n        return y\nx = A().f({AT})",
    f"class A:\n    @classmethod\n    def f(cls, y):\n        return y\nx = A.f({AT})",
    f"x = os.getenv('SERVER', {AT})",
    f"x = os.environ.setdefault('SERVER', {AT})",
]
"""Code after which ``x`` is a URI that stands in the code."""

OUTSIDE = [
    "import x",
    "from settings import x",
    "with open() as x: pass",
    "for x in hosts(): pass",
    "x, y = pair",
    "x, y = 'http://a', 'b', 'c'",
    "*x, y = 'http://a', 'b'",
    "try: pass\nexcept E as x: pass",
    "def x(): pass",
    "class x: pass",
    "x = -1",
    "x = 'http://a' * 2",
    "x = ['http://a']",
    "x = None",
    "x = other.x",
    "x = y['k']",
    "y = {'k': 'http://a'}; x = y['l']",
    "y = ['http://a']; x = y[1]",
    "x = os.environ['SERVER']",
    "x = os.getenv('SERVER')",
    "x = unknown('http://a')",
    "x = 'http://{}'.format(os.getenv('HOST'))",
    "x = '{'.format('a')",
    "x = '{5}'.format('http://a')",
    "x = '{y}'.format(x='http://a')",
    "x = y.format('http://a')",
    "x = y % 'http://a'",
    "x = '%s' % y",
    "x = base64.b64decode('http://a')",
    "x = ''.join(y)",
    "def f():\n    pass\nx = f()",
    "def f(y):\n    return y\nx = f()",
    "x = x",
]
"""Code after which nothing in the code says what ``x`` is."""


def literals(code: str) -> tuple[str, ...]:
    return read_program(f"import mlflow, os, base64\n{code}\nmlflow.set_tracking_uri(x)\n").literals


@pytest.mark.parametrize("code", IN_CODE)
def test_a_uri_that_the_code_holds_is_followed(code: str) -> None:
    line = code.count("\n") + 3
    start = "its code hard-codes the tracking server: set_tracking_uri 'http://a"
    assert any(each.startswith(start) and each.endswith(f"(line {line} of the code)") for each in literals(code))


@pytest.mark.parametrize("code", OUTSIDE)
def test_a_uri_that_the_code_does_not_hold_is_none(code: str) -> None:
    assert literals(code) == ()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("mlflow.set_tracking_uri('databricks')", "set_tracking_uri 'databricks'"),
        ("mlflow.set_tracking_uri('sqlite:///a.db')", "set_tracking_uri 'sqlite:///a.db'"),
        ("mlflow.set_registry_uri(uri='http://a')", "set_registry_uri 'http://a'"),
        ("MlflowClient(None, 'http://a')", "MlflowClient 'http://a'"),
        ("MlflowClient(registry_uri='http://a')", "MlflowClient 'http://a'"),
        ("os.environ['MLFLOW_TRACKING_URI'] = 'http://a'", "environ['MLFLOW_TRACKING_URI'] = 'http://a'"),
        ("a = {'MLFLOW_TRACKING_URI': 'http://a'}", "'MLFLOW_TRACKING_URI': 'http://a'"),
        ("a = ('MLFLOW_TRACKING_URI', 'http://a')", "('MLFLOW_TRACKING_URI', …) 'http://a'"),
        ("a = dict(MLFLOW_TRACKING_URI='http://a')", "dict 'http://a'"),
        ("os.putenv('MLFLOW_TRACKING_URI', 'http://a')", "putenv 'http://a'"),
        ("os.environ.setdefault('MLFLOW_TRACKING_URI', 'http://a')", "setdefault 'http://a'"),
        ("os.getenv('MLFLOW_TRACKING_URI', 'http://a')", "getenv 'http://a'"),
        ("os.environ.get('MLFLOW_TRACKING_' + 'URI', 'http://a')", "get 'http://a'"),
        *(
            (f"a.{name}('MLFLOW_TRACKING_URI=http://a b')", "a command sets MLFLOW_TRACKING_URI to 'http://a'")
            for name in ("system", "popen", "Popen", "run", "call", "check_call", "check_output")
        ),
        ("a.run(['b', 'MLFLOW_TRACKING_URI=http://a'])", "a command sets MLFLOW_TRACKING_URI to 'http://a'"),
        ("a.run(('b', 'MLFLOW_TRACKING_URI=http://a'))", "a command sets MLFLOW_TRACKING_URI to 'http://a'"),
        ("a.get('http://a/api/2.0/mlflow/runs')", "get 'http://a/api/2.0/mlflow/runs'"),
        ("a.request('GET', 'http://a/api/2.0/preview/mlflow/b')", "request 'http://a/api/2.0/preview/mlflow/b'"),
        ("exec('import mlflow; mlflow.set_tracking_uri(\"http://a\")')", "set_tracking_uri 'http://a'"),
        ("eval('mlflow.set_tracking_uri(\"http://a\")')", "set_tracking_uri 'http://a'"),
        ("a = getattr(mlflow, 'set_tracking_uri')('http://a')", " 'http://a'"),
        ("connect = mlflow.set_tracking_uri; connect('http://a')", "set_tracking_uri 'http://a'"),
        ("from mlflow import set_tracking_uri as connect; connect('http://a')", "set_tracking_uri 'http://a'"),
        ("mlflow.set_tracking_uri('http://me:secret@a')", "set_tracking_uri 'http://[redacted]@a'"),
        ("mlflow.set_tracking_uri(f'http://a/{path}')", "set_tracking_uri 'http://a/{path}'"),
        ("mlflow.set_tracking_uri(f'http://{host}')", "set_tracking_uri 'http://{host}'"),
    ],
)
def test_what_makes_a_text_the_tracking_uri(line: str, what: str) -> None:
    (found,) = read_program(f"import mlflow\n{line}\n").literals
    assert found.startswith("its code hard-codes the tracking server: ")
    assert what in found
    assert found.endswith("of the code)")


@pytest.mark.parametrize(
    "line",
    [
        "mlflow.set_tracking_uri('mlruns')",
        "mlflow.set_tracking_uri(a, 'http://a')",
        "mlflow.other('http://a')",
        "MlflowClient(None, None, 'http://a')",
        "os.environ['OTHER'] = 'http://a'",
        "a = {'OTHER': 'http://a', **b}",
        "a = ('MLFLOW_TRACKING_URI', 'http://a', 'b')",
        "a = dict(OTHER='http://a')",
        "os.getenv('OTHER', 'http://a')",
        "print('MLFLOW_TRACKING_URI', 'http://a')",
        "a.run('OTHER=http://a b')",
        "a.other('MLFLOW_TRACKING_URI=http://a b')",
        "a.run('MLFLOW_TRACKING_URI=$SERVER b')",
        "a.get('http://a/api/2.0/other')",
        "a.get('b', 'c', 'http://a/api/2.0/mlflow/runs')",
        "exec('other(\"http://a\")')",
        "exec(code + 'mlflow.set_tracking_uri(\"http://a\")')",
        "def f(host):\n    mlflow.set_tracking_uri(f'http://{host}/a')",
    ],
)
def test_what_makes_no_text_the_tracking_uri(line: str) -> None:
    assert read_program(f"import mlflow\n{line}\n").literals == ()


def test_the_parameters_of_the_step_that_become_the_tracking_uri() -> None:
    code = "import mlflow\ndef step(a, b='http://b', *, c=1):\n    mlflow.set_tracking_uri(a)\n    MlflowClient(b, c)\n"
    assert read_program(code) == Program(uses_mlflow=True, tracking_parameters=frozenset("abc"))
    assert read_program(code + "step(1)\n").tracking_parameters == frozenset()
    inside = "import mlflow\ndef step(a):\n    def inner(b):\n        mlflow.set_tracking_uri(b)\n    inner(a)\n"
    assert read_program(inside).tracking_parameters == {"a"}
    part = "import mlflow\ndef step(a):\n    mlflow.set_tracking_uri('http://' + a)\n"
    assert read_program(part).tracking_parameters == frozenset()


@pytest.mark.parametrize(
    ("line", "records"),
    [
        *((f"mlflow.{name}(a)", True) for name in ("start_run", "create_run", "autolog", "log_metric", "log_model")),
        *((f"mlflow.{name}(a)", True) for name in ("set_tag", "set_tags", "register_model", "create_model_version")),
        *((f"mlflow.{name}(a)", False) for name in ("search_runs", "log_", "set_tagged", "end_run", "start_runs")),
        ("mlflow.start_run", False),
        ("other.start_run()", False),
    ],
)
def test_what_records_a_run(line: str, records: bool) -> None:
    assert read_program(f"import mlflow\n{line}\n").records is records


@pytest.mark.parametrize(
    ("code", "records"),
    [
        ("import mlflow\nmlflow.log_metric(a)", True),
        ("import mlflow as m\nm.log_metric(a)", True),
        ("import mlflow.sklearn\nmlflow.sklearn.log_model(a)", True),
        ("import mlflow.sklearn as s\ns.log_model(a)", True),
        ("from mlflow import log_metric\nlog_metric(a)", True),
        ("from mlflow import log_metric as write\nwrite(a)", True),
        ("from mlflow import search_runs as log_metric\nlog_metric(a)", False),
        ("from mlflow import sklearn as s\ns.log_model(a)", True),
        ("from mlflow.tracking import MlflowClient as C\nC().log_metric(a)", True),
        ("from mlflow import MlflowClient\nc = d = MlflowClient()\nd.log_metric(a)", True),
        ("from mlflow import MlflowClient\nc = MlflowClient()\nd = c.get_run(a)\nd.set_tag(b)", True),
        ("import wandb as mlflow\nmlflow.log_metric(a)", False),
        ("from wandb import mlflow\nmlflow.log_metric(a)", False),
        ("from .mlflow import log_metric\nlog_metric(a)", False),
        ("import mlflow\nlog_metric(a)", False),
        ("def a():\n    from wandb import log\ndef b():\n    from mlflow import log_metric as log\n    log(c)", True),
        ("from mlflow import get as log\nfrom wandb import log\nc = log()\nc.set_tag(a)", True),
        ("from trivet.operations.steps import train\ntrain(a)", True),
        ("from trivet.operations.steps import train as fit\nfit(a)", True),
        ("from trivet.operations import steps\nsteps.train(a)", True),
        ("from trivet.operations import steps as s\ns.train(a)", True),
        ("from trivet import operations\noperations.steps.train(a)", True),
        ("import trivet.operations.steps\ntrivet.operations.steps.train(a)", True),
        ("import trivet.operations.steps as s\ns.train(a)", True),
        ("import trivet.operations.training as t\nt.train_and_register(a)", True),
        ("from trivet.operations.training import train_and_register\ntrain_and_register(a)", True),
        ("from trivet.operations import steps\nsteps.gate(a)", False),
        ("from trivet.operations import steps\nsteps.train", False),
        ("from acme.operations import steps\nsteps.train(a)", False),
        ("from .operations import steps\nsteps.train(a)", False),
        ("import steps\nsteps.train(a)", False),
        ("def train(a): pass\ntrain(a)", False),
    ],
)
def test_a_call_is_known_by_what_its_name_was_imported_as(code: str, records: bool) -> None:
    assert read_program(code).records is records


@pytest.mark.parametrize(
    "line", ["from settings import x", "import settings as x", "import x.y", "from .a import b as x"]
)
def test_an_import_hides_a_name_outside_of_the_function(line: str) -> None:
    code = f"import mlflow\nx = {AT}\ndef step():\n    {{}}\n    mlflow.set_tracking_uri(x)\n"
    assert read_program(code.format("pass")).literals
    assert read_program(code.format(line)).literals == ()


def test_many_imports_and_calls_of_one_name_are_read_in_time() -> None:
    imports = "\n".join(f"from a{number} import log_metric as write" for number in range(3000))
    assert not read_program(f"import mlflow\n{imports}\n" + "write(a)\n" * 3000).records


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        ("export MLFLOW_TRACKING_URI=http://a; b", ("its command sets MLFLOW_TRACKING_URI to 'http://a'",)),
        (
            "MLFLOW_TRACKING_URI = 'http://me:s@a' b c",
            ("its command sets MLFLOW_TRACKING_URI to 'http://[redacted]@a'",),
        ),
        ("export MLFLOW_TRACKING_URI=$A; b", ()),
        ("a b c", ()),
    ],
)
def test_a_command_that_sets_the_tracking_uri(text: str, literals: tuple[str, ...]) -> None:
    assert read_program(text) == Program(literals=literals)


@pytest.mark.parametrize(
    ("text", "error", "newer"),
    [
        ("a = 1", "", False),
        ("a = (", "'(' was never closed (line 1 of the code)", False),
        ("a = 1\nb c", "invalid syntax (line 2 of the code)", False),
        ("a\0", "source code string cannot contain null bytes", False),
        ("(" * 5000, "too many nested parentheses (line 1 of the code)", False),
        ("-" * 100_000 + "1", "it is nested too deeply", False),
    ],
)
def test_why_a_text_is_not_python(text: str, error: str, newer: bool) -> None:
    assert syntax_error(text) == (error, newer)
