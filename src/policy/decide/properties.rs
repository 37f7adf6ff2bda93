//! Promises: refused where nothing holds them, told where the holder is weak.

use super::Judge;
use crate::policy::grants::{Downgrade, Network, Origin, Reason};
use crate::policy::property::{PROPERTIES, Property, Strength};
use crate::policy::request::Request;

impl Judge<'_> {
    /// Refuses where a needed property has no holder; tells where the best holder is weak.
    pub(super) fn properties(&mut self, request: &Request, network: Network, memory: bool) {
        for property in PROPERTIES {
            let holders = property.holders(self.host, network);
            let remedy = || property.remedy(self.host, network);
            let best = holders.iter().max_by_key(|holder| holder.strength);
            match best {
                None if property.id == "network" && network == Network::Host => {
                    self.downgrades.push(Downgrade {
                        property: property.promise.to_owned(),
                        instead: "--network host: this machine's network is the cell's, its \
                                  loopback too"
                            .to_owned(),
                        hint: remedy(),
                    });
                }
                None if property.needed => self.reasons.push(unheld(property, remedy())),
                // Nobody was promised a bound that the policy does not give.
                _ if property.id == "memory" && !memory => {}
                None => self.downgrades.push(Downgrade {
                    property: property.promise.to_owned(),
                    instead: "nothing holds that here".to_owned(),
                    hint: remedy(),
                }),
                Some(holder) if holder.strength == Strength::Weak => {
                    self.downgrades.push(Downgrade {
                        property: property.promise.to_owned(),
                        instead: holder.by.clone(),
                        hint: remedy(),
                    });
                }
                Some(_) if property.id == "disk" && !request.rm && !request.read_only => {
                    self.downgrades.push(Downgrade {
                        property: property.promise.to_owned(),
                        instead: "what this run keeps is bounded by the disk alone".to_owned(),
                        hint: "--rm keeps it in memory, where a size is set".to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
    }
}

fn unheld(property: &Property, remedy: String) -> Reason {
    Reason {
        asked: format!("a cell where {}", property.promise),
        rule: format!("property {}: needed", property.id),
        origin: Origin::Always("a promise that nothing holds is a refusal"),
        why: "nothing on this machine holds that".to_owned(),
        cure: if remedy.is_empty() {
            Vec::new()
        } else {
            vec![remedy]
        },
    }
}
