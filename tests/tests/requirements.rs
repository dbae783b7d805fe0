//! `tests/requirements.md` is complete and correct: every requirement is in it once, and each proof that it names
//! exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// The rows: the Chinese quick start, the Arabic overview, and the decisions where they disagree.
const ROWS: [(char, u32); 3] = [('A', 55), ('B', 33), ('C', 12)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One line of the table: its row, and what proves it.
struct Line {
    row: String,
    proofs: Vec<String>,
}

/// The lines of the table in `text`: `| A1 | promise | proof; proof |`.
fn lines(text: &str) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [row, promise, proof] = cells.as_slice() else {
            bail!("a line has {} cells: {line}", cells.len());
        };
        if *row == "row" {
            continue;
        }
        ensure!(!promise.is_empty(), "{row} promises nothing");
        // Each begins with a name in backticks; quoted words may hold a semicolon.
        let proofs: Vec<String> = proof.replace("; `", "\n`").lines().map(str::to_owned).collect();
        ensure!(!proofs.is_empty(), "{row} has no proof");
        lines.push(Line {
            row: (*row).to_owned(),
            proofs,
        });
    }
    Ok(lines)
}

/// Checks one proof: `` `file::test` `` is a test that runs, `` `file` says “words” `` is a quotation of the file.
fn check(proof: &str) -> anyhow::Result<()> {
    let named = proof
        .strip_prefix('`')
        .and_then(|rest| rest.split_once('`'))
        .with_context(|| format!("{proof:?} does not begin with a name in backticks"))?;
    let (name, rest) = named;
    if let Some((file, test)) = name.split_once("::") {
        ensure!(rest.is_empty(), "{proof:?} has something behind the test's name");
        return check_test(file, test);
    }
    let words = rest
        .strip_prefix(" says “")
        .and_then(|rest| rest.strip_suffix('”'))
        .with_context(|| format!("{proof:?} is neither a test nor a page with its words"))?;
    ensure!(words.len() > 10, "{proof:?} quotes too little");
    let text = read(name)?;
    // Source code breaks texts over lines.
    let plain = |text: &str| {
        text.replace("\\\n", "")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    ensure!(plain(&text).contains(&plain(words)), "{name} does not say “{words}”");
    Ok(())
}

fn check_test(file: &str, test: &str) -> anyhow::Result<()> {
    let text = read(file)?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let heads = ["fn ", "async fn ", "pub fn ", "pub(crate) fn "].map(|head| format!("{head}{test}("));
    let at = lines
        .iter()
        .position(|line| heads.iter().any(|head| line.starts_with(head.as_str())))
        .with_context(|| format!("{file} has no function {test}"))?;
    if file.starts_with("host/store/src/conformance/") {
        // Run for each backend by the macro that names it.
        let named = read("host/store/src/conformance.rs")?;
        ensure!(
            named.lines().any(|line| line.trim() == format!("{test},")),
            "{test} is no promise of the conformance suite"
        );
        return Ok(());
    }
    let attributes = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
        .collect::<Vec<_>>();
    ensure!(
        attributes
            .iter()
            .any(|line| **line == "#[test]" || line.starts_with("#[tokio::test")),
        "{file}::{test} is no test"
    );
    ensure!(
        !attributes.iter().any(|line| line.starts_with("#[ignore")),
        "{file}::{test} is not run"
    );
    Ok(())
}

fn read(file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| format!("{file} cannot be read"))
}

/// The errors of a table as texts.
fn faults(text: &str) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut times: BTreeMap<String, u32> = ROWS
        .iter()
        .flat_map(|(letter, last)| (1..=*last).map(move |number| (format!("{letter}{number}"), 0)))
        .collect();
    for line in lines(text)? {
        match times.get_mut(&line.row) {
            Some(times) => *times += 1,
            None => faults.push(format!("{} is no row of the list", line.row)),
        }
        for proof in &line.proofs {
            if let Err(error) = check(proof) {
                faults.push(format!("{}: {error:#}", line.row));
            }
        }
    }
    for (row, times) in times {
        match times {
            1 => {}
            0 => faults.push(format!("{row} is missing")),
            more => faults.push(format!("{row} appears {more} times")),
        }
    }
    Ok(faults)
}

#[test]
fn every_row_is_there_once_and_names_a_proof_that_exists() -> anyhow::Result<()> {
    let faults = faults(&read("tests/requirements.md")?)?;
    ensure!(faults.is_empty(), "tests/requirements.md:\n{}", faults.join("\n"));
    Ok(())
}

/// The check of the table finds errors.
#[test]
fn a_table_that_lies_is_found_out() -> anyhow::Result<()> {
    let good = read("tests/requirements.md")?;
    let first = good
        .lines()
        .find(|line| line.starts_with("| A1 |"))
        .context("no first row")?;
    let worse = |with: &str| faults(&good.replace(first, with));
    assert_eq!(worse("")?, ["A1 is missing"]);
    assert_eq!(worse(&format!("{first}\n{first}"))?, ["A1 appears 2 times"]);
    for proof in [
        "`tests/tests/policy.rs::no_such_test`",
        "`tests/tests/no_such_file.rs::a_test`",
        "`tests/tests/policy.rs::first_post`",
        "`README.md` says “words that it does not contain”",
        "`README.md`",
        "because it is true",
    ] {
        let found = worse(&format!("| A1 | a promise | {proof} |"))?;
        ensure!(found.len() == 1 && found[0].starts_with("A1: "), "{proof}: {found:?}");
    }
    assert_eq!(
        worse("| A1 | a promise | |").map_err(|error| error.to_string()),
        Err("A1 has no proof".to_owned())
    );
    Ok(())
}
