use crate::nn::Role;

/// A matrix that every block has once.
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
    /// Of this role.
    pub fn new(role: Role, in_dim: i64, out_dim: i64, bias: bool) -> Matrix {
        Matrix {
            role,
            in_dim,
            out_dim,
            bias,
        }
    }

    /// The six of a block of width `d` with a plain feed-forward network of width `f`, all with biases.
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

/// The dimensions of a transformer: enough to count every method's parameters without building anything. Its blocks have
/// these matrices and two normalisations; what else there is, each architecture counts in `outside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Blocks.
    pub layers: i64,
    /// Model width, d.
    pub hidden: i64,
    /// Attention heads.
    pub heads: i64,
    /// The matrices of a block.
    pub matrices: Vec<Matrix>,
    /// Whether a normalisation has a bias beside its gain: LayerNorm has one, RMSNorm none.
    pub norm_bias: bool,
    /// Parameters of the base outside its blocks: tables (tokens, positions, segments, relative positions), their
    /// normalisations, an output layer that is no table, and whatever else is not in a block.
    pub outside: i64,
    /// Biases among those.
    pub outside_biases: i64,
    /// Width of the hidden layer of the classification head (BERT's pooler, RoBERTa's classifier.dense); none for a language
    /// model.
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
    /// (in, out) of the matrix in this role, (0, 0) where a block has none; of [`Role::Qkv`] those of the three together.
    pub fn dims(&self, role: Role) -> (i64, i64) {
        if role == Role::Qkv {
            let [q, k, v] = [Role::Query, Role::Key, Role::Value].map(|role| self.dims(role));
            return (q.0, q.1 + k.1 + v.1);
        }
        let found = self.matrices.iter().find(|m| m.role == role);
        found.map_or((0, 0), |m| (m.in_dim, m.out_dim))
    }

    /// Features of the keys of all heads, and of the values.
    pub fn kv_width(&self) -> i64 {
        self.dims(Role::Key).1
    }

    /// Features between the matrices of the feed-forward network.
    pub fn ffn(&self) -> i64 {
        self.dims(Role::FfnIn).1
    }

    /// Parameters of one normalisation.
    pub fn norm(&self) -> i64 {
        if self.norm_bias { 2 * self.hidden } else { self.hidden }
    }

    /// Biases of one block: its linear layers' and its two normalisations'.
    fn block_biases(&self) -> i64 {
        let linear: i64 = self.matrices.iter().map(Matrix::biases).sum();
        linear + 2 * (self.norm() - self.hidden)
    }

    /// Parameters of one block.
    pub fn block(&self) -> i64 {
        let matrices: i64 = self.matrices.iter().map(Matrix::parameters).sum();
        matrices + 2 * self.norm()
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
