//! Keys of PEFT's configuration that are read, ignored and refused.

use super::*;

fn config(changes: &[(&str, Value)]) -> Result<PeftConfig, String> {
    let mut whole = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 6, "lora_dropout": 0.1, "bias": "none", "target_modules": ["query"],
        "rank_pattern": {}, "use_dora": false, "loftq_config": {}, "task_type": "SEQ_CLS", "init_lora_weights": true,
    });
    for (key, value) in changes {
        whole[key] = value.clone();
    }
    PeftConfig::read(&whole.to_string())
}

#[test]
fn the_scale_follows_the_variant() {
    let form = |changes: &[(&str, Value)]| config(changes).unwrap().form();
    let lora = |rslora, init| AdapterForm::Lora {
        rslora,
        init,
        dora: false,
    };
    assert_eq!(form(&[]), lora(false, LoraInit::Kaiming));
    assert_eq!(form(&[("use_rslora", json!(true))]), lora(true, LoraInit::Kaiming));
    assert_eq!(
        form(&[("init_lora_weights", json!("pissa"))]),
        lora(false, LoraInit::Pissa)
    );
    let dora = AdapterForm::Lora {
        rslora: true,
        init: LoraInit::Kaiming,
        dora: true,
    };
    assert_eq!(form(&[("use_dora", json!(true)), ("use_rslora", json!(true))]), dora);
    let both = config(&[("use_dora", json!(true)), ("init_lora_weights", json!("pissa"))]).unwrap_err();
    assert!(both.contains("magnitudes are trained"), "{both}");
}

#[test]
fn keys_that_may_change_the_function_are_refused_by_name() {
    for (key, value) in [
        ("rank_pattern", json!({"query": "many"})),
        ("alpha_pattern", json!(8)),
        ("lora_bias", json!(true)),
        ("bias", json!("some")),
        ("loftq_config", json!({"loftq_bits": 4})),
        ("trainable_token_indices", json!([1])),
        ("layer_replication", json!([[0, 2]])),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("peft_type", json!("LOHA")),
        ("r", json!(0)),
        ("r", json!("many")),
        ("lora_alpha", json!(null)),
        ("use_newlora", json!(true)),
        ("new_config", json!({"rank": 2})),
        ("new_number", json!(0)),
        ("enable_lora", json!([true, false, true])),
    ] {
        let named = match (key, &value) {
            ("r", Value::String(_)) | ("lora_alpha", _) => "invalid type",
            _ => key,
        };
        let message = config(&[(key, value)]).unwrap_err();
        assert!(message.contains(named), "{key}: {message}");
    }
    assert!(config(&[("init_lora_weights", json!("gaussian"))]).is_ok());
    assert!(PeftConfig::read("[]").is_err() && PeftConfig::read("{").is_err());
}

#[test]
fn unset_and_irrelevant_keys_are_accepted_whether_known_or_not() {
    for (key, value) in [
        ("enable_lora", json!(null)), // of PEFT 0.1 and 0.2
        ("merge_weights", json!(false)),
        ("merge_weights", json!(true)), // merging in evaluation computes the same function
        ("use_newlora", json!(false)),
        ("new_config", json!(null)),
        ("new_config", json!({})),
        ("new_list", json!([])),
        ("use_dora", json!(false)),
        ("use_rslora", json!(null)),
        ("modules_to_save", json!(null)),
        ("peft_version", json!("0.99.0")),
    ] {
        let read = config(&[(key, value.clone())]);
        assert_eq!(read.map(|c| c.lora_alpha), Ok(6.0), "{key}: {value}");
    }
}

#[test]
fn target_modules_select_only_the_adapted_modules() {
    let all: BTreeSet<String> = (0..12)
        .flat_map(|i| {
            [
                "attention.self.query",
                "attention.output.dense",
                "output.dense",
                "intermediate.dense",
            ]
            .map(|m| format!("bert.encoder.layer.{i}.{m}"))
        })
        .chain(["bert.pooler.dense".to_string(), "classifier".into()])
        .collect();
    let found = |ends: &[&str]| {
        let wanted = all
            .iter()
            .filter(|m| ends.iter().any(|e| m.ends_with(e)))
            .cloned()
            .collect();
        suffixes(&wanted, &all).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(found(&["self.query"]), ["query"]);
    assert_eq!(found(&["attention.output.dense"]), ["attention.output.dense"]);
    assert_eq!(found(&["output.dense"]), ["output.dense"]);
    // Only the second matrix of the feed-forward network, whose name is a suffix of that of attention's output matrix.
    let wanted: BTreeSet<String> = (0..12)
        .map(|i| format!("bert.encoder.layer.{i}.output.dense"))
        .collect();
    let ends = suffixes(&wanted, &all);
    assert_eq!(ends.len(), 12);
    assert!(ends.contains("1.output.dense") && ends.contains("11.output.dense"));
}
