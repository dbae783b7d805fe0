//! Architecture rules, checked automatically.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

type Result = anyhow::Result<()>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Every dependency of a crate, direct or not, as cargo resolves them for the machine this runs on.
fn dependencies(package: &str) -> anyhow::Result<Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = [
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--locked",
    ];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

fn never(package: &str, forbidden: &[&str]) -> Result {
    let found = dependencies(package)?;
    assert!(found.len() > 1, "cargo shows no dependencies of {package}");
    for name in forbidden {
        assert!(
            !found.iter().any(|dependency| dependency == name),
            "{package} must not depend on {name}"
        );
    }
    Ok(())
}

#[test]
fn the_domain_can_do_no_io() -> Result {
    never(
        "weir-domain",
        &[
            "tokio",
            "mio",
            "reqwest",
            "hyper",
            "rusqlite",
            "wasmtime",
            "axum",
            "socket2",
            "async-trait",
        ],
    )
}

#[test]
fn each_heavy_dependency_has_one_owner() -> Result {
    never(
        "weir-store",
        &["wasmtime", "axum", "weir-runtime", "weir-egress", "reqwest"],
    )?;
    never(
        "weir-egress",
        &["wasmtime", "axum", "rusqlite", "weir-store", "weir-runtime"],
    )?;
    never("weir-runtime", &["axum", "rusqlite", "weir-store", "reqwest"])
}

#[test]
fn server_names_no_engine_crates() -> Result {
    let manifest = std::fs::read_to_string(root().join("host/server/Cargo.toml"))?;
    let normal = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for name in ["wasmtime", "rusqlite", "reqwest"] {
        assert!(
            !normal.lines().any(|line| line.starts_with(name)),
            "host/server names {name}"
        );
    }
    Ok(())
}

#[test]
fn no_connector_names_a_host_crate() -> Result {
    for package in ["weir-sdk", "weir-echo", "weir-tiktok"] {
        never(
            package,
            &[
                "weir-domain",
                "weir-egress",
                "weir-store",
                "weir-runtime",
                "weir-server",
            ],
        )?;
    }
    Ok(())
}

#[test]
fn only_one_crate_of_the_host_opens_a_connection() -> Result {
    let mut files = Vec::new();
    sources(&root().join("host"), &mut files)?;
    let outside: Vec<_> = files
        .iter()
        .filter(|file| !file.starts_with(root().join("host/egress")))
        .collect();
    assert!(outside.len() > 40, "the host's sources were not found");
    for file in outside {
        let text = std::fs::read_to_string(file)?;
        for call in [
            "reqwest::",
            "TcpStream::connect",
            "lookup_host",
            "UdpSocket",
            "hyper::client",
            "client::legacy",
        ] {
            assert!(!text.contains(call), "{} uses {call}", file.display());
        }
    }
    Ok(())
}

#[test]
fn unsafe_code_is_one_line_argued_for_where_it_stands() -> Result {
    let mut files = Vec::new();
    sources(&root().join("host"), &mut files)?;
    sources(&root().join("plugins/tiktok"), &mut files)?;
    let holding = |file: &&PathBuf| {
        std::fs::read_to_string(file).is_ok_and(|text| {
            text.lines()
                .any(|line| line.contains("unsafe {") && !line.trim_start().starts_with("//"))
        })
    };
    let with_unsafe: Vec<_> = files.iter().filter(holding).collect();
    assert_eq!(with_unsafe.len(), 1, "{with_unsafe:?}");
    assert!(
        with_unsafe[0].starts_with(root().join("host/runtime")),
        "{with_unsafe:?}"
    );
    Ok(())
}

#[test]
fn our_connectors_import_nothing_but_what_the_interface_lends() -> Result {
    let binaries = weir_tests::Binaries::find()?;
    for name in ["tiktok", "echo"] {
        let bytes = binaries.connector(name)?;
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("weir:connector/http@0.2.0"), "{name} is no connector");
        assert!(!text.contains("wasi:"), "{name} imports something of WASI");
    }
    Ok(())
}

#[test]
fn no_text_from_outside_becomes_sql() -> Result {
    /// What statements are put together from: texts of ours, each written out where its name is bound; `names` and
    /// `values` are the columns of the first schema, which is a file of ours, and what fills them.
    const OURS: [&str; 10] = [
        "table",
        "row",
        "theirs",
        "event_rows",
        "named",
        "of",
        "whole",
        "names",
        "values",
        "columns",
    ];
    let mut files = Vec::new();
    sources(&root().join("host/store/src"), &mut files)?;
    files.retain(|file| !file.ends_with("tests.rs") && !file.components().any(|part| part.as_os_str() == "tests"));
    let mut statements = 0;
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let words = [
                "SELECT ",
                "INSERT ",
                "UPDATE ",
                "DELETE ",
                " WHERE ",
                "WHERE ",
                " AND {",
                " SET ",
                "ORDER BY ",
            ];
            let code = line.trim_start();
            if code.starts_with("//") || !words.iter().any(|word| line.contains(word)) {
                continue;
            }
            statements += 1;
            for (name, _) in line.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
                let is_constant =
                    |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                // A constant of another module is below the text.
                let stands_below = || {
                    let below = lines.iter().skip(at + 1).take(4);
                    below
                        .filter_map(|line| line.trim().rsplit("::").next())
                        .any(is_constant)
                };
                ensure!(
                    is_constant(name) || OURS.contains(&name) || (name.is_empty() && stands_below()),
                    "{} puts {{{name}}} into a statement: {line}",
                    file.display()
                );
            }
        }
    }
    ensure!(statements > 100, "only {statements} lines of SQL were found");
    Ok(())
}

#[test]
fn the_lock_file_is_whole() -> Result {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    assert!(
        metadata["packages"]
            .as_array()
            .is_some_and(|packages| packages.len() >= 11)
    );
    Ok(())
}

/// The documentation pages: those at the root, in `docs/`, and next to the code that they describe.
fn pages() -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = vec![root().join("wit/README.md"), root().join("bench/README.md")];
    for folder in ["", "docs", "docs/decisions"] {
        for entry in std::fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    ensure!(pages.len() > 20, "only {} pages were found", pages.len());
    Ok(pages)
}

/// The text of a page without its blocks of code.
fn prose(page: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(page)?;
    Ok(text.split("```").step_by(2).collect())
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> anyhow::Result<Vec<String>> {
    let prose = prose(page)?;
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    Ok(headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect())
}

/// The targets of a page's links: `[words](target)`.
fn links(page: &Path) -> anyhow::Result<Vec<String>> {
    let prose = prose(page)?;
    Ok(prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect())
}

#[test]
fn pages_name_files_that_exist() -> Result {
    const FOLDERS: [&str; 10] = [
        "bench/",
        "docs/",
        "examples/",
        "findings/",
        "host/",
        "json/",
        "packaging/",
        "plugins/",
        "wit/",
        "xtask/",
    ];
    let (mut missing, mut named) = (Vec::new(), 0);
    for page in pages()?.iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        let prose = prose(page)?;
        let names = prose.split('`').skip(1).step_by(2);
        for name in
            names.filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder)) || name.starts_with("tests/"))
        {
            let file = name.split("::").next().unwrap_or_default();
            if file.contains(['*', '<', ' ', '…']) {
                continue;
            }
            named += 1;
            if !root().join(file).exists() {
                missing.push(format!("{} names {name}", page.display()));
            }
        }
    }
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    ensure!(named > 100, "only {named} names were found");
    Ok(())
}

#[test]
fn links_of_pages_lead_somewhere() -> Result {
    let mut broken = Vec::new();
    for page in pages()? {
        let folder = page.parent().context("a page has a folder")?;
        for link in links(&page)?.into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                folder.join(file)
            };
            let leads = target.exists() && (anchor.is_empty() || anchors(&target)?.iter().any(|known| known == anchor));
            if !leads {
                broken.push(format!("{} links to {link}", page.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

#[test]
fn the_readme_leads_to_every_page() -> Result {
    let linked = links(&root().join("README.md"))?;
    let linked: Vec<&str> = linked.iter().filter_map(|link| link.split('#').next()).collect();
    for page in pages()? {
        let name = page.strip_prefix(root())?.display().to_string();
        let is_listed = name.starts_with("docs/decisions/0") || name == "README.md";
        ensure!(
            is_listed || linked.contains(&name.as_str()),
            "README.md does not link to {name}"
        );
    }
    Ok(())
}

/// Methods of the store that take the id of a tenant's row and no workspace, and why.
const ACROSS_WORKSPACES: [(&str, &str); 21] = [
    ("channel_of_any", "asks whose it is"),
    ("media_of_any", "a signed link or a judged message has them"),
    ("connect_session_of_any", "its link is signed, its browser has a cookie"),
    ("keep_first_tokens", "the session was taken by its secret"),
    ("finish_connect_session", "the session was taken by its secret"),
    ("insert_session", "its key was proved"),
    ("answer_claim", "the claim has the workspace"),
    (
        "free_deliveries",
        "the node that frees them leased them, of all workspaces",
    ),
    (
        "free_messages",
        "the node that frees them leased them, of all workspaces",
    ),
    ("take_work", "the channel was found, its work is the nodes'"),
    ("request_history", "the channel was found, its work is the nodes'"),
    ("enlist_polls", "polls of all workspaces"),
    ("put_media_part", "the caller created the id or has its row"),
    ("end_media_parts", "the caller created the id or has its row"),
    ("media_part", "its row was found"),
    ("media_bytes_size", "its row was found"),
    ("remove_media_bytes", "their rows are gone"),
    ("files_removed", "their rows are gone"),
    ("media_without_row", "files of which no row is known"),
    ("hold_state", "a version of a connector serves all workspaces"),
    ("give_state_back", "a version of a connector serves all workspaces"),
];

/// An id alone finds nothing: it could be another tenant's.
#[test]
fn the_store_finds_a_tenants_rows_by_their_workspace() -> Result {
    let ids = [
        "Channel",
        "ConnectSession",
        "Contact",
        "Conversation",
        "DeadLetter",
        "Delivery",
        "Endpoint",
        "Event",
        "Key",
        "Media",
        "Message",
        "Referral",
        "Refusal",
    ];
    let mut files = Vec::new();
    sources(&root().join("host/store/src/store"), &mut files)?;
    let mut across = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let methods = text.split("\nimpl<E: Engine>").next().unwrap_or_default();
        for method in methods.split(" fn ").skip(1) {
            let (name, rest) = method.split_once('(').context("a method has parameters")?;
            let parameters = rest.split(')').next().unwrap_or_default();
            let is_by_id = ids.iter().any(|id| parameters.contains(&format!("{id}Id")));
            if is_by_id && !parameters.contains("workspace: &str") {
                across.insert(name.to_owned());
            }
        }
    }
    let listed = ACROSS_WORKSPACES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(across, listed);
    Ok(())
}

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

/// Names that the glossary replaced. If one returned, a concept would have two terms.
const REPLACED: [&str; 28] = [
    "Ask",
    "ChannelTold",
    "Crowd",
    "Doubts",
    "GoesBack",
    "HostWitness",
    "InHand",
    "PlatformWords",
    "Player",
    "RuleBook",
    "Tape",
    "Witness",
    "WorkAgain",
    "ask_uncertain",
    "hand_over",
    "hear",
    "heard",
    "in_doubt",
    "is_break",
    "look_again",
    "looked_at",
    "put_ahead",
    "said",
    "takes_its_turn",
    "tell_news",
    "told",
    "transcribe",
    "weir_next",
];

#[test]
fn replaced_names_do_not_come_back() -> Result {
    const KINDS: [&str; 6] = ["fn", "struct", "enum", "trait", "type", "mod"];
    let mut files = Vec::new();
    for folder in ["host", "plugins", "tests", "bench", "xtask"] {
        sources(&root().join(folder), &mut files)?;
    }
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let words: Vec<&str> = text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            ensure!(
                !(KINDS.contains(&pair[0]) && REPLACED.contains(&pair[1])),
                "{} names {}, which docs/glossary.md calls otherwise",
                file.display(),
                pair[1]
            );
        }
    }
    Ok(())
}

/// Prefixes that only words in British spelling have.
const BRITISH: [&str; 11] = [
    "authoris",
    "behaviour",
    "catalogue",
    "colour",
    "dialled",
    "honour",
    "learnt",
    "neighbour",
    "normalis",
    "recognise",
    "serialis",
];

#[test]
fn spelling_is_american() -> Result {
    let mut files = pages()?;
    for folder in ["host", "plugins", "tests", "bench", "xtask"] {
        sources(&root().join(folder), &mut files)?;
    }
    for file in files.into_iter().filter(|file| !file.ends_with(file!())) {
        let text = std::fs::read_to_string(&file)?.to_lowercase();
        for word in BRITISH {
            ensure!(!text.contains(word), "{} spells {word}…", file.display());
        }
    }
    Ok(())
}
