//! The names that a protocol's methods cannot have are those of the methods of erps beside which they are called.

use std::{collections::BTreeSet, fs, path::Path};

use syn::{Expr, ImplItem, Item, Lit, TraitItem, Type, Visibility};

/// Methods that prelude traits give every handle.
const PRELUDE: &[&str] = &["as_ref", "clone", "into", "to_owned", "try_into"];

#[test]
fn the_reserved_names_are_those_of_the_methods_of_erps() {
    let own = |of: &[&str]| -> BTreeSet<String> {
        let prelude = PRELUDE.iter().map(|it| (*it).to_owned());
        let methods = of.iter().flat_map(|it| methods(it));
        methods.chain(prelude).collect()
    };
    assert_eq!(reserved("CLIENT"), own(&["Client", "Caller"]));
    assert_eq!(reserved("SERVER"), methods("Server"));
    let context = own(&["Context", "ServerRef", "Caller", "Pusher"]);
    assert_eq!(reserved("CONTEXT"), context);
    assert_eq!(reserved("HANDLER"), methods("ClientHandler"));
}

#[test]
fn the_attributes_know_all_callbacks() {
    let roles = fs::read_to_string("src/implement/roles.rs").unwrap();
    for name in methods("Server").union(&methods("ClientHandler")) {
        assert!(roles.contains(&format!("\"{name}\"")), "{name}");
    }
}

/// The names in a list of `reserved.rs`.
fn reserved(list: &str) -> BTreeSet<String> {
    let items = items(Path::new("src/reserved.rs"));
    let list = items.into_iter().find_map(|it| match it {
        Item::Const(it) if it.ident == list => Some(*it.expr),
        _ => None,
    });
    let Some(Expr::Reference(list)) = list else {
        panic!("no list");
    };
    let Expr::Array(list) = *list.expr else {
        panic!("no list");
    };
    let name = |it: Expr| match it {
        Expr::Lit(it) => match it.lit {
            Lit::Str(it) => it.value(),
            _ => panic!("no name"),
        },
        _ => panic!("no name"),
    };
    list.elems.into_iter().map(name).collect()
}

/// The public methods of a type of erps, or those of a trait.
fn methods(owner: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in ["src/client", "src/daemon", "src/server", "src"]
        .iter()
        .flat_map(|it| files(it))
    {
        for item in items(&file) {
            match item {
                Item::Impl(block) if block.trait_.is_none() && is(&block.self_ty, owner) => {
                    for item in block.items {
                        if let ImplItem::Fn(it) = item
                            && matches!(it.vis, Visibility::Public(_))
                        {
                            found.insert(it.sig.ident.to_string());
                        }
                    }
                }
                Item::Trait(it) if it.ident == owner => {
                    for item in it.items {
                        if let TraitItem::Fn(it) = item {
                            found.insert(it.sig.ident.to_string());
                        }
                    }
                }
                _ => {}
            }
        }
    }
    assert!(!found.is_empty(), "{owner}");
    found
}

fn is(kind: &Type, name: &str) -> bool {
    matches!(kind, Type::Path(path) if path.path.segments.last().is_some_and(|it| it.ident == name))
}

fn files(folder: &str) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(Path::new("../..").join(folder)).unwrap();
    let files = files.map(|it| it.unwrap().path());
    files
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .collect()
}

fn items(file: &Path) -> Vec<Item> {
    syn::parse_file(&fs::read_to_string(file).unwrap())
        .unwrap()
        .items
}
