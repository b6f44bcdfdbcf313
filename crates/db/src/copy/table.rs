//! A table as both engines have it, and the statements about it that both understand.

/// What both catalogs say of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub(crate) key: Vec<String>,
    /// The column whose values the engine gives, and never twice.
    pub(crate) gives: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// The types that a schema uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Blob,
}

impl Table {
    pub(crate) fn quoted(&self) -> String {
        quote(&self.name)
    }

    /// All columns, as a list in a statement.
    pub(crate) fn list(&self) -> String {
        let names = self.columns.iter().map(|column| quote(&column.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Every row, in an order that is the same for both engines.
    pub(crate) fn select(&self) -> String {
        let order = if self.key.is_empty() {
            let all = self.columns.iter().map(|column| quote(&column.name) + " NULLS FIRST");
            all.collect::<Vec<_>>()
        } else {
            self.key.iter().map(|name| quote(name)).collect()
        };
        format!("SELECT {} FROM {} ORDER BY {}", self.list(), self.quoted(), order.join(", "))
    }

    pub(crate) fn count(&self) -> String {
        format!("SELECT count(*) FROM {}", self.quoted())
    }

    pub(crate) fn any(&self) -> String {
        format!("SELECT EXISTS (SELECT 1 FROM {})", self.quoted())
    }

    pub(crate) fn clear(&self) -> String {
        format!("DELETE FROM {}", self.quoted())
    }

    /// The highest id that is there.
    pub(crate) fn highest(&self, column: &str) -> String {
        format!("SELECT coalesce(max({}), 0) FROM {}", quote(column), self.quoted())
    }
}

/// A name in a statement.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
