// Types of the console's scripts. The API's types come from its description (`openapi.d.ts`, generated).

import type { components, paths } from "./openapi";

type Schemas = components["schemas"];
export type App = Schemas["App"];
export type AppSetting = Schemas["AppSetting"];
export type Attachment = Schemas["Attachment"];
export type Channel = Schemas["Channel"];
export type ChannelStatus = Schemas["ChannelStatus"];
export type ConnectSession = Schemas["ConnectSession"];
export type Connector = Schemas["Connector"];
export type ConnectorVersion = Schemas["ConnectorVersion"];
export type Content = Schemas["Content"];
export type ContentFeature = Schemas["ContentFeature"];
export type Conversation = Schemas["ConversationSummary"];
export type DeadLetter = Schemas["DeadLetter"];
export type Delivery = Schemas["Delivery"];
export type Endpoint = Schemas["Endpoint"];
export type Event = Schemas["Event"];
export type EventType = Schemas["EventType"];
export type Features = Schemas["Features"];
export type Grant = Schemas["Grant"];
export type Manifest = Schemas["Manifest"];
export type Message = Schemas["Message"];
export type MessageStatus = Schemas["Status"];
export type Referral = Schemas["Referral"];
export type Refusal = Schemas["Refusal"];
export type RefusalCount = Schemas["RefusalCount"];
export type Scope = Schemas["Scope"];
export type Session = Schemas["Session"];
export type TranscriptSummary = Schemas["TranscriptSummary"];
export type VersionStep = Schemas["VersionStep"];
export type WantedGrant = Schemas["WantedGrant"];
export interface List<T> {
  data: T[];
  has_more: boolean;
  next_cursor?: string | null;
}

// ---- calls, typed by path and method --------------------------------------------------------------------------------

type Method = "get" | "post" | "put" | "patch" | "delete";
type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends { [K in M]: { responses: object } } ? P : never;
}[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P] extends { [K in M]: infer O } ? O : never;
type In<O, Place extends string> = O extends { parameters: { [K in Place]?: infer T } } ? NonNullable<T> : {};
/** The path's parameters and the query's, in one object. */
type Params<P extends keyof paths, M extends Method> = {
  [K in keyof In<Operation<P, M>, "path">]: In<Operation<P, M>, "path">[K];
} & { [K in keyof In<Operation<P, M>, "query">]?: In<Operation<P, M>, "query">[K] | null };
type Json<T> = T extends { content: { "application/json": infer J } } ? J : null;
type Body<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { requestBody?: infer B } ? Json<NonNullable<B>> : null;
type Answer<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202 | 204)]> : never;
export type Read<M extends Method> = <P extends PathOf<M>>(path: P, params?: Params<P, M>) => Promise<Answer<P, M>>;
export type Write<M extends Method> = <P extends PathOf<M>>(
  path: P,
  params?: Params<P, M>,
  body?: Body<P, M>,
) => Promise<Answer<P, M>>;

// ---- the page -------------------------------------------------------------------------------------------------------

export type Child = Node | string | number | boolean | null | undefined | Child[];
export type Props = Record<string, string | number | boolean | null | undefined | ((event: any) => unknown)>;
/** An element that fills itself from the API. */
export type Loaded = HTMLElement & { reload: () => Promise<void> };

/** What a page is given. */
export interface Context {
  page: string;
  /** The item in the path, if any. */
  id: string | null;
  session: Session;
  go: (path: string) => unknown;
}

/** What a page does besides showing itself. */
export interface Page {
  /** Switches to another item without a rebuild; false if the page must be rebuilt. */
  visit?: (id: string | null) => boolean;
  event?: (event: Event) => void;
  /** Handles a key; whether it did. */
  key?: (event: KeyboardEvent) => boolean;
  leave?: () => void;
}

// ---- shapes that the description leaves open ------------------------------------------------------------------------

export interface Canary {
  percent: number;
  since: string;
  rule: { bake_s: number; promote: boolean };
}

export interface Difference {
  at: string;
  before: unknown;
  after: unknown;
}

/** What a replay or a shadow run found. */
export interface Comparison {
  calls: number;
  differ: number;
  refused: number;
  before: { elapsed_us: number };
  after: { elapsed_us: number };
  groups: (Difference & { count: number; call: string; kind: string })[];
}
