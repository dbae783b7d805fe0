//! Modules form no large import cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Result, root, sources};

/// The module that a file is: `core/clock.rs` is `core`, `clock`; `lib.rs` is the root.
fn module(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let segments = file.iter().map(|segment| segment.to_string_lossy().into_owned());
    let mut module: Vec<String> = segments.collect();
    if module.last().is_some_and(|last| last == "lib") {
        module.pop();
    }
    module
}

/// The paths of a `use` without its braces.
fn leaves(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    let mut parts = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((head, rest)) => leaves(
                &format!("{prefix}{}", head.trim()),
                rest.trim_end().trim_end_matches('}'),
                found,
            ),
            None => found.push(format!("{prefix}{part}")),
        }
    }
}

/// A file without the items that are only compiled for its tests, wherever they are.
fn without_tests(text: &str) -> String {
    let mut parts = text.split("#[cfg(test)]\n");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let indent = &part[..part.len() - part.trim_start().len()];
        let rest = match part.find([';', '{']) {
            Some(end) if part[end..].starts_with(';') => &part[end + 1..],
            _ => part.split_once(&format!("\n{indent}}}")).map_or("", |(_, rest)| rest),
        };
        kept.push_str(rest);
    }
    kept
}

#[test]
fn a_file_is_read_on_after_its_tests() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nuse b;\n#[cfg(test)]\npub(crate) mod more {\n    use c;\n}\nuse d;\n";
    assert_eq!(named(text), ["a", "b", "d"]);
}

/// The names of its own crate that a file uses outside of its tests: `use` items, and paths from the crate's root.
fn named(text: &str) -> Vec<String> {
    let code: String = without_tests(text)
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for statement in code.split(';') {
        let used = statement
            .rsplit_once("use ")
            .map(|(before, used)| (before.trim_end(), used));
        if let Some((before, used)) = used
            && (before.is_empty() || before.ends_with([';', '}', ']', ')']) || before.ends_with("pub"))
        {
            leaves("", used, &mut found);
        }
    }
    let path = |at: usize| {
        let end = code[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        code[at..end.map_or(code.len(), |end| at + end)].to_owned()
    };
    found.extend(code.match_indices("crate::").map(|(at, _)| path(at)));
    found
}

/// Which files of a crate name which others.
fn imports(source: &Path) -> anyhow::Result<BTreeMap<Vec<String>, BTreeSet<Vec<String>>>> {
    let mut files = Vec::new();
    sources(source, &mut files)?;
    let is_test = |file: &Path| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        name == "tests" || name == "testing" || file.iter().any(|segment| segment == "tests")
    };
    let mut modules = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(source)?;
        if !is_test(inside) {
            modules.insert(module(inside), std::fs::read_to_string(&file)?);
        }
    }
    // The root's re-exports with their files: a use of a re-export counts as a use of its file.
    let mut shown = BTreeMap::new();
    for path in modules.get(&Vec::new()).map(|root| named(root)).unwrap_or_default() {
        let mut segments: Vec<String> = path.split("::").map(|segment| segment.trim().to_owned()).collect();
        let name = segments.pop().unwrap_or_default();
        if modules.contains_key(&segments) {
            shown.insert(name, segments);
        }
    }
    let mut graph = BTreeMap::new();
    for (module, text) in &modules {
        let mut others = BTreeSet::new();
        for path in named(text) {
            let mut segments = path.split("::").map(str::trim);
            let mut absolute = match segments.next() {
                Some("crate") => Vec::new(),
                Some("super") => module[..module.len().saturating_sub(1)].to_vec(),
                Some("self") => module.clone(),
                // A re-export of the root is defined in a file below it.
                Some(first) if module.is_empty() => vec![first.to_owned()],
                _ => continue,
            };
            for segment in segments {
                match segment {
                    "super" => drop(absolute.pop()),
                    segment => absolute.push(segment.to_owned()),
                }
            }
            if let [name, ..] = &absolute[..]
                && !modules.contains_key(&absolute[..1])
                && let Some(file) = shown.get(name).or_else(|| shown.get("*"))
            {
                absolute.clone_from(file);
            }
            // The longest beginning that is a file; the rest is what the file holds.
            while !absolute.is_empty() && !modules.contains_key(&absolute) {
                absolute.pop();
            }
            if absolute != *module && modules.contains_key(&absolute) {
                others.insert(absolute);
            }
        }
        graph.insert(module.clone(), others);
    }
    Ok(graph)
}

/// A module can be read, tested and changed separately only while it is in no dependency cycle.
#[test]
fn no_circle_of_imports_holds_more_than_two_files() -> Result {
    for name in ["domain", "egress", "runtime", "server", "store"] {
        let graph = imports(&root().join("host").join(name).join("src"))?;
        assert!(graph.len() > 5, "the sources of {name} were not found");
        assert!(
            graph.values().map(BTreeSet::len).sum::<usize>() > graph.len(),
            "the imports of {name} were not found"
        );
        let reached = |from: &Vec<String>| {
            let mut reached = BTreeSet::new();
            let mut open: Vec<_> = graph[from].iter().collect();
            while let Some(next) = open.pop() {
                if reached.insert(next) {
                    open.extend(&graph[next]);
                }
            }
            reached
        };
        let reached: BTreeMap<_, _> = graph.keys().map(|module| (module, reached(module))).collect();
        for (module, others) in &reached {
            let circle: Vec<_> = others
                .iter()
                .filter(|other| reached[*other].contains(module))
                .map(|other| other.join("::"))
                .collect();
            assert!(
                circle.len() <= 2,
                "these files of {name} import each other in a circle: {circle:?}"
            );
        }
    }
    Ok(())
}
