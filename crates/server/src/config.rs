//! The configuration: layers of settings over the defaults in `config.default.toml`, and the types
//! of their values.
//!
//! The lowest room: the others may use it, and it uses no other.

pub(crate) mod allowed;
pub(crate) mod backups;
mod dotenv;
pub(crate) mod jwt;
pub(crate) mod origin;
pub(crate) mod period;
pub(crate) mod secret;
mod settings;
mod show;
pub(crate) mod smtp;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

pub(crate) use settings::server_key_problem;
pub use settings::{LogFormat, Lookup, Registration, Settings, Statements, Switch};
pub(crate) use show::{has_password, mask_password};

/// The defaults, with an explanation of each setting.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Variables of the Django app and of programs that use S3, and the settings that they stand for.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("LOGGER_LEVEL", "log"),
    ("DJANGO_SECRET_KEY", "secret_key"),
    ("AWS_ACCESS_KEY_ID", "backup_s3_access_key"),
    ("AWS_SECRET_ACCESS_KEY", "backup_s3_secret_key"),
    ("AWS_SESSION_TOKEN", "backup_s3_session_token"),
    ("AWS_REGION", "backup_s3_region"),
];

/// The variable that names the configuration file.
const CONFIG: &str = "POSTROOM_CONFIG";

/// Variables of the app beside the server, which may share its environment.
const OF_THE_APP: [&str; 2] = ["POSTROOM_URL", "POSTROOM_WEBHOOK_SECRET"];

/// A configuration that cannot be used: where the problem is, and what it is.
#[derive(Debug, thiserror::Error)]
#[error("{layer}: {problem}")]
pub struct Error {
    layer: Layer,
    problem: String,
    /// The format of the log, as far as it can be read.
    pub(crate) log_format: LogFormat,
}

/// What settings name or leave out cannot be used, such as a file that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(crate) struct Unusable(pub(crate) anyhow::Error);

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// `config.default.toml`.
    Default,
    /// A configuration file or `.env`.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Default => f.write_str("default"),
            Layer::File(path) => write!(f, "{}", path.display()),
            Layer::Environment(name) => f.write_str(name),
            Layer::Flag => f.write_str("command line"),
        }
    }
}

/// The current settings, and where each one comes from.
#[derive(Clone)]
pub struct Config {
    /// The values.
    pub settings: Settings,
    table: Table,
    layers: BTreeMap<String, Layer>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

/// Where the layers are read from; nothing else looks at the process. It has no `Debug`, because
/// it contains secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// A configuration file that must exist.
    pub file: Option<PathBuf>,
    /// The folder of `postroom.toml` and `.env`, which may be missing.
    pub folder: PathBuf,
    /// The environment variables.
    pub environment: Vec<(String, String)>,
    /// `NAME=VALUE` from the command line.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The current directory and the environment of this process.
    #[expect(clippy::disallowed_methods, reason = "the configuration is read here")]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        // Variables that are not UTF-8 belong to other programs.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, folder: PathBuf::from("."), environment, flags }
    }
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// If a layer cannot be read, has an unknown name or an invalid value. The error names the
    /// layer and the setting, and repeats no secret.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let table = DEFAULTS.parse::<Table>().expect("the defaults are valid TOML");
        let layers = table.keys().map(|name| (name.clone(), Layer::Default)).collect();
        let settings = table.clone().try_into().expect("the defaults are valid settings");
        let mut config = Self { settings, table, layers };
        // All is read although some is wrong, because any layer may set the format of the log.
        let mut errors = Vec::new();
        config.read(sources, &mut errors);
        let broken = config.settings.problem();
        let broken =
            broken.map(|(name, problem)| wrong(&config.layers[name], format!("{name}: {problem}")));
        match errors.into_iter().next().or(broken) {
            Some(first) => Err(Error { log_format: config.settings.log_format, ..first }),
            None => Ok(config),
        }
    }

    fn read(&mut self, sources: &Sources, errors: &mut Vec<Error>) {
        let mut variables = sources.environment.iter();
        let variable = variables.find(|(name, path)| name == CONFIG && !path.is_empty());
        let named = sources.file.clone().or_else(|| variable.map(|(_, path)| path.into()));
        let usual = sources.folder.join("postroom.toml");
        if let Some(path) = named.or_else(|| is_there(&usual).then_some(usual)) {
            let layer = Layer::File(path.clone());
            let table = read_toml(&path, &layer).map_err(|error| errors.push(error));
            for (name, value) in table.unwrap_or_default() {
                errors.extend(self.set(&name, value, &layer).err());
            }
        }
        let path = sources.folder.join(".env");
        if is_there(&path) {
            let layer = Layer::File(path.clone());
            let variables = dotenv::read(&path).map_err(|error| errors.push(error));
            let variables = variables.unwrap_or_default();
            if variables.iter().any(|(name, path)| name == CONFIG && !path.is_empty()) {
                let problem = "this has no effect here: set it in the environment, or use --config";
                errors.push(wrong(&layer, format!("{CONFIG}: {problem}")));
            }
            self.overlay_environment(&variables, |_name| layer.clone(), errors);
        }
        let layer = |name: &str| Layer::Environment(name.to_owned());
        self.overlay_environment(&sources.environment, layer, errors);
        for (name, text) in &sources.flags {
            errors.extend(self.set_text(name, text, &Layer::Flag).err());
        }
    }

    fn overlay_environment(
        &mut self,
        variables: &[(String, String)],
        layer: impl Fn(&str) -> Layer,
        errors: &mut Vec<Error>,
    ) {
        for (other, name) in OTHER_NAMES {
            if let Some((_, text)) = variables.iter().find(|(key, _)| key == other) {
                let text = if name == "log" { dotenv::level(text) } else { text };
                errors.extend(self.set_text(name, text, &layer(other)).err());
            }
        }
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("POSTROOM_") else { continue };
            if variable != CONFIG && !OF_THE_APP.contains(&variable.as_str()) {
                let name = name.to_ascii_lowercase();
                errors.extend(self.set_text(&name, text, &layer(variable)).err());
            }
        }
    }

    /// Sets a value that is given as text, which is read as the type of the default.
    fn set_text(&mut self, name: &str, text: &str, layer: &Layer) -> Result<(), Error> {
        let value = match self.table.get(name) {
            Some(Value::Integer(_)) => {
                let number = text.trim().parse();
                Value::Integer(number.map_err(|_invalid| {
                    wrong(layer, format!("{name}: it must be a whole number"))
                })?)
            }
            Some(Value::Boolean(_)) => {
                let flag = text.trim().parse();
                let problem = || wrong(layer, format!("{name}: it must be true or false"));
                Value::Boolean(flag.map_err(|_invalid| problem())?)
            }
            Some(Value::Array(before)) => {
                let mut items = list(text);
                // `--set` once for each item; in any other place, a name is given once.
                if *layer == Layer::Flag && self.layers.get(name) == Some(layer) {
                    items.splice(0..0, before.iter().cloned());
                }
                Value::Array(items)
            }
            _ => Value::from(text),
        };
        self.set(name, value, layer)
    }

    fn set(&mut self, name: &str, value: Value, layer: &Layer) -> Result<(), Error> {
        let Some(slot) = self.table.get_mut(name) else {
            return Err(wrong(layer, format!("{name}: there is no such setting")));
        };
        let before = std::mem::replace(slot, value);
        match self.table.clone().try_into() {
            Ok(settings) => self.settings = settings,
            Err(cause) => {
                self.table.insert(name.to_owned(), before);
                // The message may quote the value, which may be a secret.
                let secret = show::is_secret(name);
                let problem = if secret { "it must be text" } else { cause.message() };
                return Err(wrong(layer, format!("{name}: {problem}")));
            }
        }
        self.layers.insert(name.to_owned(), layer.clone());
        Ok(())
    }
}

fn read_toml(path: &Path, layer: &Layer) -> Result<Table, Error> {
    let text = read_text(path).map_err(|problem| wrong(layer, problem))?;
    // The parser's full message quotes the line, which may contain a secret.
    text.parse::<Table>().map_err(|cause| wrong(layer, cause.message()))
}

/// Whether there is anything with this path, even if it cannot be read: that is an error then.
fn is_there(path: &Path) -> bool {
    let missing = |cause: std::io::Error| cause.kind() == std::io::ErrorKind::NotFound;
    !path.symlink_metadata().is_err_and(missing)
}

/// The most bytes of a configuration file or a template.
const TEXT_BYTES: u64 = 1024 * 1024;

/// Reads a text that a setting or the command line names.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let bytes = db::read_bounded(path, TEXT_BYTES).map_err(|cause| cause.to_string())?;
    String::from_utf8(bytes).map_err(|_other| "it is not text in UTF-8".to_owned())
}

/// A list that is given as text: an array of TOML, or items that are separated by commas.
fn list(text: &str) -> Vec<Value> {
    // An address of IPv6 can begin with a bracket, too.
    let array = format!("items = {text}").parse::<Table>().ok();
    let array = array.and_then(|mut table| table.remove("items"));
    if let Some(Value::Array(items)) = array {
        return items;
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(Value::from).collect()
}

fn wrong(layer: &Layer, problem: impl Into<String>) -> Error {
    Error { layer: layer.clone(), problem: problem.into(), log_format: LogFormat::Text }
}
