//! Every documented threat has an existing proof, or a statement of what is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

type Result<T = ()> = anyhow::Result<T>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// The rows of the tables: id to its four cells.
fn rows() -> Result<BTreeMap<String, Vec<String>>> {
    let text = std::fs::read_to_string(root().join("docs/threats.md"))?;
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let id = cells.first().context("a row without cells")?.clone();
        if id != "id" {
            ensure!(cells.len() == 4, "{id} has {} cells", cells.len());
            ensure!(rows.insert(id.clone(), cells).is_none(), "{id} appears twice");
        }
    }
    Ok(rows)
}

/// The texts in backquotes.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether the file has this test: a function of that name, under a test's attribute or in the suite of the stores.
fn exists(proof: &str) -> Result<bool> {
    let (file, test) = proof
        .split_once("::")
        .with_context(|| format!("{proof} names no test"))?;
    let text = std::fs::read_to_string(root().join(file)).with_context(|| format!("{file} is not there"))?;
    let head = format!("fn {test}(");
    let mut is_marked = false;
    for line in text.lines().map(str::trim_start) {
        if line.contains(&head) {
            let is_in_suite = file.contains("/conformance/") && line.starts_with("pub fn");
            return Ok(is_marked || is_in_suite);
        }
        // Other attributes and comments may stand between the mark and its function.
        is_marked = match line {
            _ if line.starts_with("#[test]") || line.starts_with("#[tokio::test") => true,
            _ if line.starts_with("#[") || line.starts_with("//") => is_marked,
            _ => false,
        };
    }
    Ok(false)
}

#[test]
fn every_threat_has_a_proof_that_exists_or_says_what_is_missing() -> Result {
    let rows = rows()?;
    let expected: Vec<String> = (1..=25)
        .map(|n| format!("C{n}"))
        .chain((1..=23).map(|n| format!("N{n}")))
        .collect();
    for id in &expected {
        ensure!(rows.contains_key(id), "{id} has no row");
    }
    ensure!(
        rows.len() == expected.len(),
        "the number of rows differs from the expected one"
    );
    let mut proofs = 0;
    for (id, cells) in &rows {
        let proof = &cells[3];
        if let Some(why) = proof.strip_prefix("Not yet:").or_else(|| proof.strip_prefix("Cannot:")) {
            ensure!(
                why.trim().ends_with('.') && why.len() > 20,
                "{id} does not state in a sentence why it has no proof"
            );
            continue;
        }
        let tests = named(proof);
        ensure!(!tests.is_empty(), "{id} names no proof");
        for test in tests {
            ensure!(exists(test)?, "{id} names {test}, which is no test");
            proofs += 1;
        }
    }
    ensure!(proofs > 50, "only {proofs} proofs were looked for");
    Ok(())
}

#[test]
fn a_test_that_does_not_exist_is_noticed() -> Result {
    ensure!(!exists("tests/tests/threats.rs::no_such_test")?);
    ensure!(!exists("tests/tests/threats.rs::rows")?, "a function is not yet a test");
    ensure!(exists("tests/tests/threats.rs::a_test_that_does_not_exist_is_noticed")?);
    ensure!(exists("no/such/file.rs::x").is_err());
    Ok(())
}
