//! Templates that would overflow a stack, fill the memory or never end: each ends in an error or a
//! text, soon, and the process lives.

use std::time::{Duration, Instant};

use candle4j_engine::chat::{ChatTemplate, Message};
use candle4j_engine::error::Error;
use serde_json::{Map, json};

fn messages() -> Vec<Message> {
    vec![Message {
        role: "user".into(),
        content: Some("Hi there".into()),
        more: Map::new(),
    }]
}

fn render(source: &str) -> Result<String, Error> {
    let start = Instant::now();
    let result = ChatTemplate::parse("chat_template.jinja", source.into(), Map::new())
        .and_then(|template| template.render(&messages(), true, &Map::new()));
    let time = start.elapsed();
    let head: String = source.chars().take(80).collect();
    assert!(time < Duration::from_secs(10), "{head}: {time:?}");
    if let Err(error) = &result {
        assert!(matches!(error, Error::ChatTemplate(_)), "{head}: {error}");
    }
    result
}

/// A chain that fills a template of that size.
fn chain(size: usize, start: &str, link: &str, end: &str) -> String {
    let count = (size - start.len() - end.len()) / link.len();
    format!("{start}{}{end}", link.repeat(count))
}

#[test]
fn expressions_as_long_as_a_template_may_be() {
    for (start, link, end) in [
        ("{{ 1", "+1", " }}"),
        ("{{ 1", "-1", " }}"),
        ("{{ 1", "*1", " }}"),
        ("{{ 1", "/1", " }}"),
        ("{{ 1", "//1", " }}"),
        ("{{ 1", "%1", " }}"),
        ("{{ 1", "**1", " }}"),
        ("{{ 1", "~1", " }}"),
        ("{{ 1", "<1", " }}"),
        ("{{ 1", "==1", " }}"),
        ("{{ 1", " in a", " }}"),
        ("{{ 1", " and 1", " }}"),
        ("{{ 1", " or 1", " }}"),
        ("{{ 1", "|string", " }}"),
        ("{{ 1", " is a", " }}"),
        ("{{ 1", " if 1 else 1", " }}"),
        ("{{ a", ".b", " }}"),
        ("{{ a", "[0]", " }}"),
        ("{{ a", "()", " }}"),
        ("{{ a", "[::]", " }}"),
        ("{{ ", "-", "1 }}"),
        ("{{ ", "not ", "1 }}"),
        ("{{ ", "(", ""),
        ("{{ ", "[", ""),
        ("{{ ", "{1:", ""),
        ("{{ a(", "b=", ""),
        ("{{ a", "(b", ""),
        ("{{ a", "[b", ""),
        ("{% if 1 %}", "{%elif 1%}", "{% endif %}"),
        ("", "{%if 1%}", ""),
        ("", "{%for a in b%}", ""),
        ("", "{%with%}", ""),
        ("", "{%set a%}", ""),
        ("", "{%macro a()%}", ""),
        ("", "{%filter a%}", ""),
        ("", "{%set a=[a]%}", "{{ a }}"),
        (
            "",
            "{%set a=[a]%}",
            "{{ a == a }}{{ a|tojson }}{{ a < [a] }}{{ a|string|length }}",
        ),
        ("", "{%set a={1:a}%}", "{{ a }}{{ a|tojson }}{{ {a: 1} }}"),
        (
            "",
            "{%set a=(a,1)%}",
            "{{ [a, a]|unique }}{{ [a, a]|sort }}{{ a in [a] }}",
        ),
        ("{% set a", ",a", " = 1 %}"),
        ("{% set a = namespace() %}{% set a", ".a", " = 1 %}"),
    ] {
        for size in [24 << 10, 256 << 10] {
            let _ = render(&chain(size, start, link, end));
        }
        // As many as one tag may have.
        let most = format!("{start}{}{end}", link.repeat(2730));
        let _ = render(&most);
    }
    let error = render(&" ".repeat((256 << 10) + 1)).unwrap_err();
    assert!(
        error.to_string().contains("262145 bytes; at most 262144"),
        "{error}"
    );
    // What is only long is right.
    assert_eq!(
        render(&format!("{{{{ 1{} }}}}", "+1".repeat(2351))).unwrap(),
        "2352"
    );
    let many = format!(
        "{{% if 0 %}}{}{{% else %}}end{{% endif %}}",
        "{% elif 0 %}".repeat(900)
    );
    assert_eq!(render(&many).unwrap(), "end");
}

#[test]
fn values_that_nest_or_hold_themselves() {
    for source in [
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
        "{% set n = namespace() %}{% set n.x = [n] %}{{ n|tojson }}",
        "{% set n = namespace() %}{% set n.x = {'a': [n]} %}{{ n == n }}",
        "{% set n = namespace() %}{% set m = namespace(n=n) %}{% set n.x = m %}{{ n }}",
        "{% set n = namespace() %}{% set a, n.x = 1, n %}{{ n }}",
        "{% set n = namespace() %}{% set n.x | default(n, true) %}{% endset %}{{ n }}",
        "{% set n = namespace() %}{% set n.x | default(n, true) %}{% endset %}{% set m = namespace() %}{% set m.x | default(m, true) %}{% endset %}{{ n == m }}",
        "{% set n = namespace() %}{% set n.x = n.values() %}{{ n }}",
        "{% set n = namespace() %}{% set n.x = n.items() %}{{ n }}{{ n|tojson }}",
        "{% set n = namespace() %}{% set n.x = [n.keys()] %}{{ n }}",
        "{% set n = namespace(a=1) %}{% set n.x = n|items %}{{ n }}",
        "{% set n = namespace() %}{% set n.x = [1]|chain(n.values()) %}{{ n }}",
        "{% set n = namespace() %}{% set n.x = {'a': 1}|chain(n) %}{{ n }}",
        "{% set candle4j_bounded = dict %}{% set n = namespace() %}{% set n.x = {'a': n} %}{{ n }}",
        "{% set n = namespace(x=[]) %}{% for i in range(20000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(20000) %}{% set n.x = {'a': n.x} %}{% endfor %}{{ n.x|tojson }}",
        "{% set n = namespace(x=1) %}{% for i in range(20000) %}{% set n.x = (n.x, 1) %}{% endfor %}{{ n.x == n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(20000) %}{% set n.x = namespace(x=n.x) %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(20000) %}{% set n.x = [n.x]|list %}{% endfor %}{{ n.x|string }}",
        "{% set n = namespace(x=1) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1, y=1) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(a) %}{{ m([a]) }}{% endmacro %}{{ m(1) }}",
        "{% macro m(a, n) %}{% if n %}{{ m([a, a], n - 1) }}{% else %}{{ a }}{% endif %}{% endmacro %}{{ m(1, 40) }}",
        "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
        "{% set x = self %}{{ x }}",
    ] {
        render(source).map_err(|_| ()).map(|text| text.len()).ok();
    }
    for source in [
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
        "{% set n = namespace(x=[]) %}{% for i in range(20000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
    ] {
        let error = render(source).unwrap_err().to_string();
        assert!(
            error.contains("namespace") || error.contains("nested deeper"),
            "{error}"
        );
    }
    // Loops and macros keep their methods under another name.
    assert_eq!(
        render(
            "{% macro m(x) %}<{{ x }}>{% endmacro %}{% set f = m %}{% set ns = namespace(f=1) %}\
             {% set ns.f = m %}{% for a in ['x', 'y'] %}{% set outer = loop %}{% for b in [1] %}\
             {{ outer.index }}{{ outer.cycle('p', 'q') }}{{ outer.last }}{% endfor %}{% endfor %}\
             {{ f(1) }}{{ ns.f(2) }}"
        )
        .unwrap(),
        "1pFalse2qTrue<1><2>"
    );
    // What real templates do with namespaces.
    assert_eq!(
        render(
            "{% set ns = namespace(i=0, found=false, all=[]) %}{% for m in messages %}\
             {% set ns.i = ns.i + 1 %}{% set ns.found = true %}{% set ns.all = ns.all + [m] %}\
             {% endfor %}{{ ns.i }}{{ ns.found }}{{ ns.all[0].content }}"
        )
        .unwrap(),
        "1TrueHi there"
    );
}

#[test]
fn f1_f2_f3_growth_bad_formats_and_endless_loops() {
    let doubling = "{% set n = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}";
    let lines = format!(
        "{{% set s = 'ab' %}}{}{{{{ s }}}}",
        "{% set s = s ~ s %}".repeat(60)
    );
    let long = "{% set s = 'a' * 1000000 %}";
    let sources = [
        doubling.to_owned(),
        lines,
        format!("{long}{{{{ s.replace('', s) }}}}"),
        format!("{long}{{{{ s|replace('', s) }}}}"),
        format!("{long}{{{{ s|replace('a', s) }}}}"),
        format!("{long}{{{{ s.join([1] * 1000000) }}}}"),
        format!("{long}{{{{ ([s] * 100000)|join(s) }}}}"),
        format!("{long}{{{{ s.split('a') }}}}{{{{ s|list }}}}{{{{ s|batch(1) }}}}"),
        "{{ 'a' * 10000000000 }}".into(),
        "{{ [1] * 10000000000 }}".into(),
        "{{ ('a\\n' * 100000)|indent(1000000000) }}".into(),
        "{{ 'a'|indent(100000000000) }}".into(),
        "{{ [1]|batch(10000000000, 'x') }}".into(),
        "{{ [1]|slice(10000000000) }}".into(),
        "{{ '%1000000000d'|format(1) }}".into(),
        "{{ '%.1000000000f'|format(1.5) }}".into(),
        "{{ '{:1000000000}'.format(1) }}".into(),
        "{{ '{:.1000000000f}'.format(1.5) }}".into(),
        "{{ '{:{}}'.format(1, 1000000000) }}".into(),
        "{{ '{0:{1}}'.format('x', 1000000000) }}".into(),
        "{{ 'a'|center(10000000000) }}".into(),
        "{{ 'a'.center(10000000000) }}{{ 'a'.ljust(10000000000) }}{{ '1'.zfill(10000000000) }}".into(),
        "{{ [1]|tojson(indent=100000000000) }}".into(),
        "{{ messages|tojson(indent=-1) }}".into(),
        "{{ range(10000000000)|list }}".into(),
        "{{ lipsum(1000000000) }}".into(),
        "{{ 10 ** 100000000 }}{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}".into(),
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}".into(),
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".into(),
        "{% for a in range(99999) %}{% set x = range(99999)|list|sort|unique|length %}{% endfor %}".into(),
        "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}long text here{% endfor %}{% endfor %}{% endset %}".into(),
        "{{ messages|map(attribute='content')|list|map('upper')|join|urlencode }}".into(),
        "{{ strftime_now('%') }}{{ strftime_now('%Q%!') }}".into(),
        "{{ strftime_now('%Y' * 1000000) }}".into(),
        "{{ raise_exception('x' * 100000000) }}".into(),
        "{{ ('{0}' * 2000).format('a' * 4000000)|length }}".into(),
        "{{ ('{0:9999}' * 80000).format(1) }}".into(),
        format!("{{% set a = 1 %}}{}{{{{ a|string|length }}}}", "{% set a=[a,a] %}".repeat(40)),
        format!("{{% set a = 1 %}}{}{{{{ a in 'x' }}}}", "{% set a={1: a, 2: a} %}".repeat(40)),
        format!("{{% set a = [1] %}}{}{{{{ a|pprint }}}}", "{% set a = a|chain(a) %}".repeat(40)),
        format!("{{% set a = [1] %}}{}{{{{ '%s'|format(a) }}}}", "{% set a = a|zip(a) %}".repeat(40)),
        format!("{{% set a = 1 %}}{}{{{{ a ~ 'x' }}}}{}", "{% with a = [a, a] %}".repeat(40), "{% endwith %}".repeat(40)),
        format!("{{% set a = 1 %}}{}{{{{ a }}}}{}", "{% for a in [[a, a]] %}".repeat(60), "{% endfor %}".repeat(60)),
        "{% macro m(a, n) %}{% if n %}{{ m([a, a], n - 1) }}{% else %}{{ a|string|length }}{% endif %}{% endmacro %}{{ m(1, 60) }}".into(),
        "{% for a in [[1]] recursive %}{{ loop([[a, a], [a, a]]) }}{% endfor %}".into(),
    ];
    for source in &sources {
        let _ = render(source);
    }
    for source in &sources[..7] {
        let error = render(source).unwrap_err().to_string();
        assert!(
            error.contains("chat_template.jinja: rendering takes more steps or memory"),
            "{error}"
        );
    }
    let error = render("{{ 1|tojson(indent=100000000000) }}")
        .unwrap_err()
        .to_string();
    assert!(error.contains("an indent of 100000000000"), "{error}");
    let error = render("{% for x in [1] %}{{ loop.cycle() }}{% endfor %}").unwrap_err();
    assert!(error.to_string().contains("chat_template.jinja"), "{error}");
    let error = render("{{ strftime_now('%Q') }}").unwrap_err().to_string();
    assert!(error.contains("no format of a time"), "{error}");
}

#[test]
fn conversations_of_any_length_render() {
    let template = "{% set ns = namespace(n=0, text='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}\
        {% if m['role'] == 'user' and '</think>' in m['content'] %}{{ m['content'].split('</think>')[-1].lstrip('\\n') }}\
        {% else %}<|{{ m.role }}|>{{ m['content'] | trim }}{{ m|tojson }}{% endif %}{% endfor %}{{ ns.n }}";
    let template = ChatTemplate::parse("t", template.into(), Map::new()).unwrap();
    let render = |messages: &[Message]| template.render(messages, true, &Map::new()).unwrap();
    let long = |role: &str, content: String| Message {
        role: role.into(),
        content: Some(content),
        more: Map::from_iter([("calls".to_owned(), json!([{"a": [1, {"b": null}]}]))]),
    };
    let many: Vec<Message> = (0..20_000)
        .map(|i| long("user", format!("message {i}")))
        .collect();
    assert!(render(&many).ends_with("20000"));
    let big = vec![
        long("user", "word </think> ".repeat(1 << 20)),
        long("system", "x".repeat(8 << 20)),
    ];
    assert!(render(&big).len() > 16 << 20);
}
