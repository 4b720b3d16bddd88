//! The graph of which file of a crate uses which, read with `syn`.
//!
//! An edge points to the file that *defines* the item; re-exports, such as those in `lib.rs`, are followed. A
//! `pub use` alone creates no edge. Method calls are not seen; the trait or type they belong to is. Code
//! under `#[cfg(test)]` and `#[cfg(doc)]` is skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, UseTree, Visibility,
    visit::{self, Visit},
};

/// The files of one crate, by their paths from `src`, and the files each uses.
pub(crate) struct Graph {
    pub(crate) files: Vec<String>,
    /// For each file, the files it uses, with the name of one used item.
    pub(crate) edges: Vec<BTreeMap<usize, String>>,
}

#[derive(Default)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths that occur in the file's code.
    paths: BTreeSet<Vec<String>>,
}

#[derive(Default)]
struct Reader {
    source: PathBuf,
    files: Vec<String>,
    modules: Vec<Module>,
}

impl Graph {
    /// Reads the crate whose root is `lib.rs` in `source`.
    pub(crate) fn read(source: &Path) -> Self {
        let mut reader = Reader {
            source: source.to_owned(),
            ..Reader::default()
        };
        reader.file(&source.join("lib.rs"), source, None);
        reader.into_graph()
    }

    /// Returns the sets of files that use each other, directly or indirectly.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<usize>> {
        let reach: Vec<_> = (0..self.files.len()).map(|it| self.reachable(it)).collect();
        let mut circles: Vec<BTreeSet<usize>> = Vec::new();
        for file in 0..self.files.len() {
            if reach[file].contains(&file) && !circles.iter().any(|it| it.contains(&file)) {
                let mutual = |other: &&usize| reach[**other].contains(&file);
                circles.push(reach[file].iter().filter(mutual).copied().collect());
            }
        }
        circles
    }

    fn reachable(&self, from: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            next.extend(self.edges[file].keys().filter(|it| reached.insert(**it)));
        }
        reached
    }

    /// Describes the edges within a set of files.
    pub(crate) fn describe(&self, files: &BTreeSet<usize>) -> String {
        let mut text = String::new();
        for &file in files {
            for (other, name) in &self.edges[file] {
                if files.contains(other) {
                    let (file, other) = (&self.files[file], &self.files[*other]);
                    text += &format!("  {file} uses {name} of {other}\n");
                }
            }
        }
        text
    }
}

impl Reader {
    fn file(&mut self, path: &Path, folder: &Path, parent: Option<usize>) -> usize {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.strip_prefix(&self.source).unwrap().to_str().unwrap();
        self.files.push(name.replace('\\', "/"));
        let file = self.files.len() - 1;
        self.module(file, parent, syntax.items, folder)
    }

    fn module(
        &mut self,
        file: usize,
        parent: Option<usize>,
        items: Vec<Item>,
        folder: &Path,
    ) -> usize {
        let this = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            ..Module::default()
        });
        for item in items {
            self.item(this, item, folder);
        }
        this
    }

    fn item(&mut self, this: usize, item: Item, folder: &Path) {
        if is_left_out(attributes(&item)) {
            return;
        }
        match item {
            Item::Mod(module) => {
                let name = module.ident.to_string();
                let inside = folder.join(&name);
                let child = match module.content {
                    Some((_, items)) => {
                        self.module(self.modules[this].file, Some(this), items, &inside)
                    }
                    None => self.file(&folder.join(format!("{name}.rs")), &inside, Some(this)),
                };
                self.modules[this].children.insert(name, child);
            }
            Item::Use(item) => {
                let is_private = matches!(item.vis, Visibility::Inherited);
                let module = &mut self.modules[this];
                import(module, &mut Vec::new(), &item.tree, is_private);
            }
            item => {
                let module = &mut self.modules[this];
                module.items.extend(name_of(&item));
                Paths(&mut module.paths).visit_item(&item);
            }
        }
    }

    fn into_graph(self) -> Graph {
        let mut edges = vec![BTreeMap::new(); self.files.len()];
        for (index, module) in self.modules.iter().enumerate() {
            for path in &module.paths {
                let target = self.resolve(index, path, 8);
                if let Some(file) = target.filter(|file| *file != module.file) {
                    edges[module.file]
                        .entry(file)
                        .or_insert_with(|| path.join("::"));
                }
            }
        }
        Graph {
            files: self.files,
            edges,
        }
    }

    /// Returns the file of the item that a path refers to; `None` for other crates and for modules.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.within(0, rest, depth),
            "self" => self.within(from, rest, depth),
            "super" => self.within(self.modules[from].parent?, rest, depth),
            _ => self.within(from, path, depth),
        }
    }

    fn within(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let here = &self.modules[module];
        if first == "super" {
            return self.within(here.parent?, rest, depth);
        }
        if let Some(child) = here.children.get(first)
            && let found @ Some(_) = self.within(*child, rest, depth)
        {
            return found;
        }
        if here.items.contains(first) {
            return Some(here.file);
        }
        if let Some(import) = here.imports.get(first) {
            let path: Vec<_> = import.iter().chain(rest).cloned().collect();
            return self.resolve(module, &path, depth);
        }
        here.globs.iter().find_map(|glob| {
            let path: Vec<_> = glob.iter().chain(path).cloned().collect();
            self.resolve(module, &path, depth)
        })
    }
}

fn import(module: &mut Module, before: &mut Vec<String>, tree: &UseTree, is_private: bool) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            import(module, before, &path.tree, is_private);
            before.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                import(module, before, tree, is_private);
            }
        }
        UseTree::Glob(_) => module.globs.push(before.clone()),
        UseTree::Name(name) if name.ident == "self" => {
            let alias = before.last().cloned().unwrap_or_default();
            bind(module, alias, before.clone(), is_private);
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let path = [&before[..], std::slice::from_ref(&name)].concat();
            bind(module, name, path, is_private);
        }
        UseTree::Rename(rename) => {
            let mut path = before.clone();
            if rename.ident != "self" {
                path.push(rename.ident.to_string());
            }
            bind(module, rename.rename.to_string(), path, is_private);
        }
    }
}

fn bind(module: &mut Module, alias: String, path: Vec<String>, is_private: bool) {
    if is_private {
        module.paths.insert(path.clone());
    }
    // `use x as _` binds no name.
    if alias != "_" {
        module.imports.insert(alias, path);
    }
}

/// Collects the paths in code, including the tokens of macros.
struct Paths<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|it| it.ident.to_string());
        self.0.insert(names.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

impl Paths<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.0.insert(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.0.insert(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.0.insert(path);
    }
}

/// Whether code is only for tests or documentation.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let words = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        ["test", "doc", "doctest"].contains(&words.as_str())
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::ExternCrate(it) => &it.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        Item::Macro(it) => return names_in_macro(it),
        _ => return None,
    };
    Some(ident.to_string())
}

/// Returns the type declared by `pin_project!`, the static of `thread_local!`, or a macro's own name.
fn names_in_macro(item: &syn::ItemMacro) -> Option<String> {
    if let Some(ident) = &item.ident {
        return Some(ident.to_string());
    }
    let mut words = item.mac.tokens.clone().into_iter();
    words.find(
        |it| matches!(it, TokenTree::Ident(i) if i == "struct" || i == "enum" || i == "static"),
    )?;
    words.next().map(|it| it.to_string())
}
