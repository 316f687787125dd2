use crate::nn::Role;

/// The dimensions of a transformer encoder: enough to count every method's parameters without building anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Blocks.
    pub layers: i64,
    /// Model width, d.
    pub hidden: i64,
    /// Attention heads.
    pub heads: i64,
    /// Feed-forward width.
    pub ffn: i64,
    /// Rows of the token table.
    pub vocab: i64,
    /// Rows of the position table.
    pub positions: i64,
    /// Rows of the segment table.
    pub types: i64,
    /// Width of the hidden layer of the head (BERT's pooler, RoBERTa's classifier.dense).
    pub head_hidden: i64,
}

impl ModelShape {
    /// (in, out) of the matrix in this role.
    pub fn dims(&self, role: Role) -> (i64, i64) {
        match role {
            Role::Query | Role::Key | Role::Value | Role::AttnOut => (self.hidden, self.hidden),
            Role::FfnIn => (self.hidden, self.ffn),
            Role::FfnOut => (self.ffn, self.hidden),
        }
    }

    /// Biases of one block: six linear layers and two LayerNorms.
    fn block_biases(&self) -> i64 {
        let linear: i64 = Role::ALL.iter().map(|r| self.dims(*r).1).sum();
        linear + 2 * self.hidden
    }

    /// Parameters of one block.
    pub fn block(&self) -> i64 {
        let matrices: i64 = Role::ALL.iter().map(|r| self.dims(*r).0 * self.dims(*r).1).sum();
        matrices + self.block_biases() + 2 * self.hidden // + the gains of two LayerNorms
    }

    /// All biases of the base, the embeddings' LayerNorm included.
    pub fn biases(&self) -> i64 {
        self.layers * self.block_biases() + self.hidden
    }

    /// All parameters of the base: embeddings, their LayerNorm, and the blocks.
    pub fn total(&self) -> i64 {
        (self.vocab + self.positions + self.types + 2) * self.hidden + self.layers * self.block()
    }

    /// Parameters of a classification head with `labels` outputs.
    pub fn head(&self, labels: i64) -> i64 {
        let h = self.head_hidden;
        h * self.hidden + h + labels * h + labels
    }
}
