//! The last canary run of each version: the figures of its calls, and how it ended.

use weir_domain::rollout::Canary;
use weir_domain::time::Timestamp;

use crate::db::{Db, get_json, get_json_if, get_time_if, json, params};
use crate::{CanaryFigures, CanaryRunEnd, CanaryRunRecord, Result};

/// A canary run begins or is replaced: its figures start from zero.
pub(crate) fn begin(db: &Db<'_>, connector: &str, version: &str, canary: &Canary) -> Result<()> {
    db.write(
        "INSERT INTO trials (connector, version, canary) VALUES (?1, ?2, ?3)
         ON CONFLICT (connector, version) DO UPDATE SET canary = ?3, figures = NULL, ended_at = NULL, reason = NULL",
        params![connector, version, json(canary)?],
    )?;
    db.write(
        "DELETE FROM trial_figures WHERE connector = ?1 AND version = ?2",
        [connector, version],
    )?;
    Ok(())
}

/// Does nothing if the version was never this canary.
pub(crate) fn keep_figures(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    node: &str,
    counted: &CanaryFigures,
) -> Result<()> {
    db.write(
        "INSERT INTO trial_figures (connector, version, node, figures)
         SELECT connector, version, ?3, ?4 FROM trials WHERE connector = ?1 AND version = ?2 AND canary = ?5
         ON CONFLICT (connector, version, node) DO UPDATE SET figures = ?4",
        params![
            connector,
            version,
            node,
            json(&counted.figures)?,
            json(&counted.canary)?
        ],
    )?;
    Ok(())
}

pub(crate) fn end(db: &Db<'_>, connector: &str, version: &str, reason: &str, now: Timestamp) -> Result<()> {
    db.write(
        "UPDATE trials SET ended_at = ?4, reason = ?3 WHERE connector = ?1 AND version = ?2 AND ended_at IS NULL",
        params![connector, version, reason, now.as_millis()],
    )?;
    Ok(())
}

pub(crate) fn one(db: &Db<'_>, connector: &str, version: &str) -> Result<Option<CanaryRunRecord>> {
    let run = db.one(
        "SELECT canary, figures, ended_at, reason FROM trials WHERE connector = ?1 AND version = ?2",
        [connector, version],
        |row| {
            let at = get_time_if(row, 2)?;
            let reason: Option<String> = row.get(3)?;
            let before: Option<serde_json::Value> = get_json_if(row, 1, "trials.figures")?;
            Ok(CanaryRunRecord {
                canary: get_json(row, 0, "trials.canary")?,
                figures: before.into_iter().map(|figures| (String::new(), figures)).collect(),
                end: at.map(|at| CanaryRunEnd {
                    reason: reason.unwrap_or_default(),
                    at,
                }),
            })
        },
    )?;
    let Some(mut run) = run else { return Ok(None) };
    run.figures.extend(db.all(
        "SELECT node, figures FROM trial_figures WHERE connector = ?1 AND version = ?2",
        [connector, version],
        |row| Ok((row.get(0)?, get_json(row, 1, "trial_figures.figures")?)),
    )?);
    Ok(Some(run))
}
