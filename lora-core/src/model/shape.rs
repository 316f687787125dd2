use crate::nn::Role;

/// A matrix of every block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Its role.
    pub role: Role,
    /// Features in.
    pub in_dim: i64,
    /// Features out.
    pub out_dim: i64,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Matrix {
    /// A matrix with this role.
    pub fn new(role: Role, in_dim: i64, out_dim: i64, bias: bool) -> Matrix {
        Matrix {
            role,
            in_dim,
            out_dim,
            bias,
        }
    }

    /// The six matrices of a block of width `d` with an ungated feed-forward network of width `f`, all with biases.
    pub fn of_plain_block(d: i64, f: i64) -> Vec<Matrix> {
        let dims = |role| match role {
            Role::FfnIn => (d, f),
            Role::FfnOut => (f, d),
            _ => (d, d),
        };
        let matrix = |role: &Role| Matrix::new(*role, dims(*role).0, dims(*role).1, true);
        Role::BLOCK.iter().map(matrix).collect()
    }

    fn parameters(&self) -> i64 {
        self.in_dim * self.out_dim + self.biases()
    }

    fn biases(&self) -> i64 {
        if self.bias { self.out_dim } else { 0 }
    }
}

/// The dimensions of a transformer, from which the parameters of all methods can be counted without building it. A
/// block has `matrices` and two normalisations; each architecture counts its other parameters in `outside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Number of blocks.
    pub layers: i64,
    /// Model width, d.
    pub hidden: i64,
    /// Number of attention heads.
    pub heads: i64,
    /// The matrices of a block.
    pub matrices: Vec<Matrix>,
    /// Whether a normalisation has a bias: true for LayerNorm, false for RMSNorm.
    pub norm_bias: bool,
    /// Parameters of the base outside its blocks: embeddings (tokens, positions, segments, relative positions),
    /// normalisations, an untied output layer, and any others.
    pub outside: i64,
    /// Biases among `outside`.
    pub outside_biases: i64,
    /// Width of the hidden layer of the classification head (BERT's pooler, RoBERTa's classifier.dense); none for a
    /// language model.
    pub head_hidden: Option<i64>,
    /// Number of token ids.
    pub vocab: i64,
    /// Relative positions, if attention uses them.
    pub relative: Option<Relative>,
}

/// Attention to relative positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relative {
    /// Number of position terms in the scores: content-to-position, position-to-content.
    pub terms: i64,
    /// Rows of the position embedding.
    pub table: i64,
}

impl Relative {
    /// Maximal number of rows that a text of `width` tokens uses.
    pub fn reached(&self, width: i64) -> i64 {
        (2 * width - 1).clamp(0, self.table)
    }
}

impl ModelShape {
    /// (in, out) of the matrix with this role, (0, 0) if a block has none; for [`Role::Qkv`] of the three matrices
    /// together.
    pub fn dims(&self, role: Role) -> (i64, i64) {
        if role == Role::Qkv {
            let [q, k, v] = [Role::Query, Role::Key, Role::Value].map(|role| self.dims(role));
            return (q.0, q.1 + k.1 + v.1);
        }
        let found = self.matrices.iter().find(|m| m.role == role);
        found.map_or((0, 0), |m| (m.in_dim, m.out_dim))
    }

    /// Features of the keys (and of the values) over all heads.
    pub fn kv_width(&self) -> i64 {
        self.dims(Role::Key).1
    }

    /// Width of the feed-forward network.
    pub fn ffn(&self) -> i64 {
        self.dims(Role::FfnIn).1
    }

    /// Parameters of one normalisation.
    pub fn norm(&self) -> i64 {
        if self.norm_bias { 2 * self.hidden } else { self.hidden }
    }

    /// Biases of one block: of its linear layers and its two normalisations.
    fn block_biases(&self) -> i64 {
        let linear: i64 = self.matrices.iter().map(Matrix::biases).sum();
        linear + 2 * (self.norm() - self.hidden)
    }

    /// Parameters of one block.
    pub fn block(&self) -> i64 {
        let matrices: i64 = self.matrices.iter().map(Matrix::parameters).sum();
        matrices + 2 * self.norm()
    }

    /// All biases of the base, those of LayerNorm included.
    pub fn biases(&self) -> i64 {
        self.layers * self.block_biases() + self.outside_biases
    }

    /// All parameters of the base.
    pub fn total(&self) -> i64 {
        self.outside + self.layers * self.block()
    }

    /// Parameters of the head with `labels` outputs; 0 for a language model.
    pub fn head(&self, labels: i64) -> i64 {
        self.head_hidden
            .map_or(0, |h| h * self.hidden + h + labels * h + labels)
    }
}
