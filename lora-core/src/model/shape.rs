use crate::nn::Role;

/// The dimensions of a transformer: enough to count every method's parameters without building anything. Its blocks have the
/// six matrices of [`Role`] with biases and two LayerNorms; what else there is, each architecture counts in `outside`.
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
    /// Projections of relative positions in each block (see [`Role::RelPosKey`]), beside its six matrices.
    pub position_projections: i64,
    /// Parameters of the base outside its blocks: tables (tokens, positions, segments, relative positions), their
    /// LayerNorms, and whatever else is not in a block.
    pub outside: i64,
    /// Biases among those.
    pub outside_biases: i64,
    /// Width of the hidden layer of the classification head (BERT's pooler, RoBERTa's classifier.dense); none for a language
    /// model whose output layer is the token table.
    pub head_hidden: Option<i64>,
    /// Token ids.
    pub vocab: i64,
    /// Relative positions, if attention has any.
    pub relative: Option<Relative>,
}

/// Attention to relative positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relative {
    /// How many terms of the scores they make: contents to positions, positions to contents.
    pub terms: i64,
    /// Rows of the table of positions.
    pub table: i64,
}

impl Relative {
    /// Rows of the table that text of `width` tokens reaches, at most.
    pub fn reached(&self, width: i64) -> i64 {
        (2 * width - 1).clamp(0, self.table)
    }
}

impl ModelShape {
    /// (in, out) of the matrix in this role.
    pub fn dims(&self, role: Role) -> (i64, i64) {
        match role {
            Role::Query | Role::Key | Role::Value | Role::AttnOut | Role::RelPosKey | Role::RelPosQuery => {
                (self.hidden, self.hidden)
            }
            Role::FfnIn => (self.hidden, self.ffn),
            Role::FfnOut => (self.ffn, self.hidden),
            Role::Qkv => (self.hidden, 3 * self.hidden),
        }
    }

    /// Biases of one block: its linear layers and two LayerNorms.
    fn block_biases(&self) -> i64 {
        let linear: i64 = Role::BLOCK.iter().map(|r| self.dims(*r).1).sum();
        linear + (2 + self.position_projections) * self.hidden
    }

    /// Parameters of one block.
    pub fn block(&self) -> i64 {
        let matrices: i64 = Role::BLOCK.iter().map(|r| self.dims(*r).0 * self.dims(*r).1).sum();
        let positions = self.position_projections * self.hidden * self.hidden;
        matrices + positions + self.block_biases() + 2 * self.hidden // + the gains of two LayerNorms
    }

    /// All biases of the base, LayerNorms' included.
    pub fn biases(&self) -> i64 {
        self.layers * self.block_biases() + self.outside_biases
    }

    /// All parameters of the base.
    pub fn total(&self) -> i64 {
        self.outside + self.layers * self.block()
    }

    /// Parameters of the head with `labels` outputs; a language model has none of its own.
    pub fn head(&self, labels: i64) -> i64 {
        self.head_hidden
            .map_or(0, |h| h * self.hidden + h + labels * h + labels)
    }
}
