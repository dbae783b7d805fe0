//! What a record knows of itself.

use crate::db::Db;
use crate::vault::Place;
use crate::{Result, StoreError};

pub(crate) const KEY_CHECK: Place<'static> = Place {
    table: "meta",
    column: "value",
    row: "key_check",
};
/// What is sealed there.
pub(crate) const KEY_CHECKED: &[u8] = b"weir";

/// A record that was begun under another master key is noticed now, and not at the first send.
pub(crate) fn check_key(db: &Db<'_>) -> Result<()> {
    let sealed: Option<Vec<u8>> = db.one("SELECT value FROM meta WHERE name = 'key_check'", [], |row| row.get(0))?;
    match sealed {
        Some(sealed) => match db.vault.open(&sealed, KEY_CHECK) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::WrongKey),
        },
        None => {
            let sealed = db.vault.seal(KEY_CHECKED, KEY_CHECK, db.mint)?;
            db.run("INSERT INTO meta (name, value) VALUES ('key_check', ?1)", [sealed])?;
            Ok(())
        }
    }
}
