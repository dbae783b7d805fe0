//! Pages name files that exist, and their links have targets.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{Result, root};

/// The documentation pages: those at the root, in `docs/`, and next to the code that they describe.
pub(super) fn pages() -> anyhow::Result<Vec<PathBuf>> {
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
