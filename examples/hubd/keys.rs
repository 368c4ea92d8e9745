//! Keys that are generated once and kept in the data directory.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hub_core::security::{Policies, Policy, Right, Rights, SymmetricKey};

use crate::args::Args;

/// The generated keys, by name, in one file that only its owner can read.
pub(crate) struct Keys {
    path: PathBuf,
    keys: BTreeMap<String, String>,
    dirty: bool,
}

impl Keys {
    pub(crate) fn open(dir: &Path) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(dir)
            .map_err(|error| format!("the data directory {} : {error}", dir.display()))?;
        let path = dir.join("keys.json");
        let keys = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| format!("{} is damaged: {error}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        };
        Ok(Self { path, keys, dirty: false })
    }

    /// The key of this name, made now if there was none.
    pub(crate) fn get(&mut self, name: &str) -> Result<SymmetricKey, Box<dyn Error>> {
        if let Some(text) = self.keys.get(name) {
            return Ok(SymmetricKey::from_base64(text)?);
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)?;
        let key = SymmetricKey::generate(&random);
        self.keys.insert(name.to_owned(), key.to_base64().to_owned());
        self.dirty = true;
        Ok(key)
    }

    /// Writes what was made, whole or not at all.
    pub(crate) fn save(&mut self) -> Result<(), Box<dyn Error>> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let mut file = private(&new)?;
        file.write_all(&serde_json::to_vec_pretty(&self.keys)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        Ok(())
    }
}

/// A new file that only its owner can read.
pub(crate) fn private(path: &Path) -> Result<fs::File, Box<dyn Error>> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(file)
}

/// Azure's five default policies and those of the command line.
pub(crate) fn policies(args: &Args, keys: &mut Keys) -> Result<Policies, Box<dyn Error>> {
    let mut policies = Policies::none();
    let standard: [(&str, Rights); 5] = [
        ("iothubowner", Rights::ALL),
        ("service", Right::ServiceConnect.into()),
        ("device", Right::DeviceConnect.into()),
        ("registryRead", Right::RegistryRead.into()),
        ("registryReadWrite", Right::RegistryWrite.into()),
    ];
    for (name, rights) in standard {
        let primary = match (&args.owner_key, name) {
            (Some(key), "iothubowner") => key.0.clone(),
            _ => keys.get(&format!("policy/{name}/primary"))?,
        };
        let secondary = keys.get(&format!("policy/{name}/secondary"))?;
        policies.insert(Policy::new(name, primary, secondary, rights)?)?;
    }
    for spec in &args.policies {
        let primary = match &spec.key {
            Some(key) => key.0.clone(),
            None => keys.get(&format!("policy/{}/primary", spec.name))?,
        };
        let secondary = keys.get(&format!("policy/{}/secondary", spec.name))?;
        policies.insert(Policy::new(&spec.name, primary, secondary, spec.rights)?)?;
    }
    Ok(policies)
}
