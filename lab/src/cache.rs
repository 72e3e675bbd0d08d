//! What is expensive to make is made once, and kept in a directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Gives what is called `name` in the directory `cache`: a file or a directory that `make` makes at
/// the path it is told, unless it is there and was made for the same `recipe`.
pub(crate) fn made_once(
    cache: &Path,
    name: &str,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(cache)?;
    let cache = cache.canonicalize()?;
    let (thing, complete_mark) = (cache.join(name), cache.join(format!("{name}.made")));
    // Until the end of the function, so that tests that want it at once make it once.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    if fs::read_to_string(&complete_mark).is_ok_and(|had| had == recipe) {
        return Ok(thing);
    }
    for old in [&complete_mark, &thing] {
        remove(old).with_context(|| format!("cannot remove the old {}", old.display()))?;
    }
    make(&thing)?;
    fs::write(complete_mark, recipe)?;
    Ok(thing)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_thing_is_made_again_for_another_recipe_or_when_it_was_not_completed() -> Result<()> {
        let cache = std::env::temp_dir().join(format!("vipcast-cache-{}", std::process::id()));
        let mut made = Vec::new();
        for (recipe, succeeds) in
            [("flour", true), ("flour", true), ("rye", true), ("oats", false), ("rye", true)]
        {
            let bread = made_once(&cache, "bread", recipe, |bread| {
                assert!(!bread.exists(), "the old one is gone");
                made.push(recipe);
                fs::create_dir(bread)?;
                if !succeeds {
                    bail!("no oven")
                }
                Ok(fs::write(bread.join("crumb"), recipe)?)
            });
            assert_eq!(bread.is_ok(), succeeds);
        }
        assert_eq!(made, ["flour", "rye", "oats", "rye"]);
        fs::remove_dir_all(cache)?;
        Ok(())
    }
}
