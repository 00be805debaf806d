/**
 * Tells which nodes there should be, by the addresses at which this one reaches them. Whether they live is for `Nodes` to
 * find out.
 *
 * Where the source of this can't be asked, what it told last holds.
 */
import { Context, Layer } from "effect"

export class Membership extends Context.Service<
  Membership,
  {
    /** As they are known now; this node's own may be among them. */
    readonly addresses: () => ReadonlyArray<string>
  }
>()("respool/cluster/Membership") {
  /** A list that does not change. */
  static readonly layerList = (addresses: ReadonlyArray<string>): Layer.Layer<Membership> =>
    Layer.succeed(Membership, { addresses: () => addresses })
}
