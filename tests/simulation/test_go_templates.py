"""Templates are rendered as Go's text/template does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.simulation import go_templates
from keelback.simulation.go_templates import TemplateError
from keelback.simulation.template_functions import PLAIN, TemplateFailure

DATA = {
    "name": "web",
    "count": 2,
    "none": None,
    "list": [{"a": 1}, {"a": 2}, {"a": 3}],
    "labels": {"b": "2", "a": "1"},
    "empty": [],
}


def rendered(text, data=DATA):
    return go_templates.parse(text, tuple(PLAIN)).render(data, PLAIN)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("{{ .name }}-{{.count}}", "web-2"),
        ("{{ .nothing }}/{{ .nothing.more }}", "<no value>/<no value>"),
        ("a {{- /* said */ -}} b", "ab"),
        ("a\n{{- .name -}}\n b", "awebb"),
        ("{{ .name | Quote }}{{ .count | Quote }}", '"web""2"'),
        ('{{ `raw` }}{{ "q\\"x" }}', 'rawq"x'),
        ("{{ if .empty }}yes{{ else if .count }}count{{ else }}no{{ end }}", "count"),
        ("{{ with .nothing }}{{ . }}{{ else }}none{{ end }}", "none"),
        ("{{ with $x := .name }}{{ . }}{{ $x }}{{ end }}", "webweb"),
        ("{{ range .list }}{{ .a }},{{ end }}", "1,2,3,"),
        ("{{ range $i, $x := .list }}{{ $i }}{{ $x.a }}{{ $.name }} {{ end }}", "01web 12web 23web "),
        ("{{ range $key, $value := .labels }}{{ $key }}={{ $value }};{{ end }}", "a=1;b=2;"),
        ("{{ range .empty }}x{{ else }}none{{ end }}", "none"),
        ("{{ range .list }}{{ if eq .a 2 }}{{ break }}{{ end }}{{ .a }}{{ end }}", "1"),
        ("{{ range .list }}{{ if eq .a 2 }}{{ continue }}{{ end }}{{ .a }}{{ end }}", "13"),
        ("{{ $x := 0 }}{{ range .list }}{{ $x = .a }}{{ end }}{{ $x }}", "3"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ('{{ define "t" }}<{{ .a }}{{ $.a }}>{{ end }}{{ template "t" index .list 1 }}', "<22>"),
        ('{{ template "t" dict "a" .name }}{{ define "t" }}{{ .a }}{{ end }}', "web"),
        ("{{ ( index .list 0 ).a }}", "1"),
        ('{{ or .nothing "x" }}{{ and .name .count }}{{ or false 0 }}', "x20"),
        ('{{ or ( index ( or .nothing dict ) "key" ) "default" }}', "default"),
        ('{{ eq .name "a" "web" }} {{ ne .count 2 }} {{ eq .nothing "x" }}', "true false false"),
        (
            '{{ printf "%s-%03d-%q-%5s|%-4s|%v" .name .count .name "r" "l" .labels }}',
            'web-002-"web"-    r|l   |map[a:1 b:2]',
        ),
        ('{{ len (printf "x%*s" .count.Int64 "x") }}', "3"),
        ("{{ add1 .count }} {{ sub 1 3 }} {{ div -7 2 }} {{ mod -7 2 }}", "3 -2 -3 -1"),
        ("{{ not .empty }} {{ gt .count 1 }} {{ len .list }}", "true true 3"),
        ("k:{{ YAML .labels 1 }}", "k:\n  a: '1'\n  b: '2'\n  "),
        ("{{ .list }}", "[map[a:1] map[a:2] map[a:3]]"),
        ('{{ .name | upper | trimSuffix "B" }}{{ default "d" .nothing }}', "WEd"),
    ],
)
def test_what_a_template_gives(text, result):
    assert rendered(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "{{ .a",
        "{{ if .a }}",
        "{{ end }}",
        "{{ unknownFunction }}",
        "{{ .a | }}",
        "{{ ( .a }}",
        "{{ template name }}",
        "{{ .a & .b }}",
        "{{ else }}",
        '{{ block "x" . }}{{ end }}',
    ],
)
def test_what_is_no_template_is_refused(text):
    with pytest.raises(TemplateError):
        go_templates.parse(text, tuple(PLAIN))


@pytest.mark.parametrize(
    "text",
    [
        "{{ .name.first }}",
        "{{ index .list 9 }}",
        "{{ div 1 0 }}",
        "{{ $nothing }}",
        "{{ range .name }}{{ end }}",
        "{{ len .count }}",
        "{{ lt .name 1 }}",
        '{{ template "absent" }}',
        '{{ define "t" }}{{ template "t" }}{{ end }}{{ template "t" }}',
        '{{ printf "%d" }}',
        "{{ ternary 1 }}",
    ],
)
def test_what_cannot_be_rendered_says_so(text):
    with pytest.raises(TemplateFailure):
        rendered(text)


@given(st.text(alphabet=st.characters(exclude_characters="{")))
def test_a_text_without_actions_is_itself(text):
    assert rendered(text) == text


@given(st.lists(st.text()))
def test_a_range_gives_each_once_in_order(texts):
    assert rendered("{{ range . }}{{ . | Quote }}\n{{ end }}", texts).count("\n") == len(texts) + sum(
        PLAIN["Quote"](text).count("\n") for text in texts
    )


@given(st.text(alphabet='{}. |"$xif end()range:=', max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        template = go_templates.parse(text, tuple(PLAIN))
    except TemplateError:
        return
    try:
        template.render(DATA, PLAIN)
    except TemplateFailure:
        return
