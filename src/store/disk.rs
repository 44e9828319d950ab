//! What is on disk: one redb file with the objects, the changes, and what they are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::StoreError;
use super::object::{Change, Key, Object};
use super::state::{History, State};

/// Resource, namespace, name; revision and value.
const OBJECTS: TableDefinition<'_, (&str, &str, &str), (u64, &[u8])> =
    TableDefinition::new("objects");
/// Revision; a [`Record`].
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: &str = "format";
const REVISION: &str = "revision";

/// Each brings the format of its place, counted from 1, to the next.
const UPGRADES: &[Upgrade] = &[];

type Upgrade = fn(&WriteTransaction) -> Result<(), StoreError>;

/// The file in a store's folder.
pub const FILE: &str = "postern.redb";

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
}

/// A change as it is written. `V` is what its objects are while it is written, or read.
#[derive(Serialize, Deserialize)]
struct Record<V> {
    resource: String,
    namespace: String,
    name: String,
    old: Option<Written<V>>,
    new: Option<Written<V>>,
}

#[derive(Serialize, Deserialize)]
struct Written<V> {
    revision: u64,
    value: V,
}

impl Disk {
    pub(super) fn open(folder: &Path, history: History) -> Result<(Self, State), StoreError> {
        let file =
            prepare(folder).map_err(|error| StoreError::Folder { folder: folder.into(), error })?;
        let database = match Database::create(&file) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse { file }),
            Err(error) => return Err(error.into()),
        };
        upgrade(&database, &file, UPGRADES)?;
        let disk = Self { database };
        let state = disk.read(history)?;
        Ok((disk, state))
    }

    /// Writes changes, all or none, and drops those before the horizon.
    pub(super) fn commit(&self, changes: &[Arc<Change>], horizon: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut log = transaction.open_table(LOG)?;
            for change in changes {
                let Key { resource, namespace, name } = &change.key;
                let key = (&**resource, &**namespace, &**name);
                match &change.new {
                    Some(new) => {
                        let value = json(&new.value)?;
                        objects.insert(key, (new.revision, value.as_slice()))?;
                    }
                    None => {
                        objects.remove(key)?;
                    }
                }
                let record = json(&Record::of(change))?;
                log.insert(change.revision, record.as_slice())?;
                transaction.open_table(META)?.insert(REVISION, change.revision)?;
            }
            let mut forgotten = log.extract_from_if(..horizon, |_, _| true)?;
            forgotten.try_for_each(|entry| entry.map(|_| ()))?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads everything.
    fn read(&self, history: History) -> Result<State, StoreError> {
        let transaction = self.database.begin_read()?;
        let revision = transaction.open_table(META)?.get(REVISION)?.map_or(0, |it| it.value());
        let mut objects = BTreeMap::new();
        for entry in transaction.open_table(OBJECTS)?.iter()? {
            let (key, value) = entry?;
            let (resource, namespace, name) = key.value();
            let key = Key::new(resource, namespace, name);
            let (revision, value) = value.value();
            let value = parse(value, &key)?;
            objects.insert(key.clone(), Arc::new(Object { key, revision, value }));
        }
        let mut log: VecDeque<Arc<Change>> = VecDeque::new();
        let mut latest: HashMap<Key, Arc<Object>> = HashMap::new();
        for entry in transaction.open_table(LOG)?.iter()? {
            let (number, record) = entry?;
            let what = format_args!("change {}", number.value());
            let record: Record<&RawValue> = parse(record.value(), &what)?;
            let key = Key::new(&record.resource, &record.namespace, &record.name);
            // Most changes found what the one before them made, and made what is there now: nothing
            // has to be read, and is kept, twice.
            let object = |written: Written<&RawValue>, known: Option<&Arc<Object>>| match known {
                Some(known) if known.revision == written.revision => Ok(known.clone()),
                Some(_) | None => {
                    let (key, revision) = (key.clone(), written.revision);
                    let value = parse(written.value.get().as_bytes(), &what)?;
                    Ok::<_, StoreError>(Arc::new(Object { key, revision, value }))
                }
            };
            let old = record.old.map(|old| object(old, latest.get(&key))).transpose()?;
            let new = record.new.map(|new| object(new, objects.get(&key))).transpose()?;
            match &new {
                Some(new) => latest.insert(key.clone(), new.clone()),
                None => latest.remove(&key),
            };
            log.push_back(Arc::new(Change { revision: number.value(), key, old, new }));
        }
        Ok(State::new(objects, log, revision, history))
    }

    /// Whether the pages of the file are sound; repairs them if they are not and can be.
    pub(super) fn check_pages(&mut self) -> Result<bool, StoreError> {
        Ok(self.database.check_integrity()?)
    }
}

impl<'c> Record<&'c Value> {
    fn of(change: &'c Change) -> Self {
        let written =
            |object: &'c Arc<Object>| Written { revision: object.revision, value: &object.value };
        Self {
            resource: change.key.resource.to_string(),
            namespace: change.key.namespace.to_string(),
            name: change.key.name.to_string(),
            old: change.old.as_ref().map(written),
            new: change.new.as_ref().map(written),
        }
    }
}

/// Makes the folder and gives the file in it.
fn prepare(folder: &Path) -> io::Result<PathBuf> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    Ok(folder.join(FILE))
}

/// Brings the file to the newest format, step by step and all in one.
fn upgrade(database: &Database, file: &Path, upgrades: &[Upgrade]) -> Result<(), StoreError> {
    let known = u64::try_from(upgrades.len()).unwrap_or(u64::MAX).saturating_add(1);
    let transaction = database.begin_write()?;
    let found = transaction.open_table(META)?.get(FORMAT)?.map(|found| found.value());
    match found {
        Some(found) if found == known => {
            transaction.abort()?;
            return Ok(());
        }
        Some(found) if found > known => {
            let file = file.into();
            return Err(StoreError::NewerFormat { file, found, known });
        }
        Some(found) => {
            let done = usize::try_from(found.saturating_sub(1)).unwrap_or(usize::MAX);
            for upgrade in upgrades.iter().skip(done) {
                upgrade(&transaction)?;
            }
        }
        None => {
            transaction.open_table(OBJECTS)?;
            transaction.open_table(LOG)?;
        }
    }
    transaction.open_table(META)?.insert(FORMAT, known)?;
    transaction.commit()?;
    Ok(())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn parse<'t, T: Deserialize<'t>>(
    text: &'t [u8],
    what: &impl std::fmt::Display,
) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|error| StoreError::Damaged(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &Path) -> Database {
        Database::create(folder.join(FILE)).unwrap()
    }

    fn format_of(database: &Database) -> u64 {
        let transaction = database.begin_read().unwrap();
        transaction.open_table(META).unwrap().get(FORMAT).unwrap().unwrap().value()
    }

    fn note(transaction: &WriteTransaction, name: &str) -> Result<(), StoreError> {
        let mut meta = transaction.open_table(META)?;
        let count = meta.get("steps")?.map_or(0, |it| it.value());
        meta.insert("steps", count + 1)?;
        meta.insert(name, count)?;
        Ok(())
    }

    fn first(transaction: &WriteTransaction) -> Result<(), StoreError> {
        note(transaction, "first")
    }

    fn second(transaction: &WriteTransaction) -> Result<(), StoreError> {
        note(transaction, "second")
    }

    fn failing(transaction: &WriteTransaction) -> Result<(), StoreError> {
        note(transaction, "failing")?;
        Err(StoreError::Damaged("of course".into()))
    }

    fn meta(database: &Database, name: &str) -> Option<u64> {
        let transaction = database.begin_read().unwrap();
        transaction.open_table(META).unwrap().get(name).unwrap().map(|it| it.value())
    }

    #[test]
    fn older_formats_are_upgraded_step_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let (database, file) = (database(folder.path()), folder.path().join(FILE));
        upgrade(&database, &file, &[]).unwrap();
        assert_eq!(format_of(&database), 1);
        upgrade(&database, &file, &[first]).unwrap();
        assert_eq!((format_of(&database), meta(&database, "first")), (2, Some(0)));
        upgrade(&database, &file, &[first, second, second]).unwrap();
        assert_eq!((format_of(&database), meta(&database, "second")), (4, Some(2)));
        assert_eq!(meta(&database, "steps"), Some(3));
    }

    #[test]
    fn an_upgrade_that_fails_leaves_the_old_format() {
        let folder = tempfile::tempdir().unwrap();
        let (database, file) = (database(folder.path()), folder.path().join(FILE));
        upgrade(&database, &file, &[]).unwrap();
        assert!(upgrade(&database, &file, &[first, failing]).is_err());
        assert_eq!((format_of(&database), meta(&database, "first")), (1, None));
    }

    #[test]
    fn newer_formats_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (database, file) = (database(folder.path()), folder.path().join(FILE));
        upgrade(&database, &file, &[first]).unwrap();
        let refused = upgrade(&database, &file, &[]);
        assert!(matches!(refused, Err(StoreError::NewerFormat { found: 2, known: 1, .. })));
        assert_eq!(format_of(&database), 2);
    }
}
