/**
 * What the page is given, by name; the Python modules beside this folder write it. Times are epoch nanoseconds.
 *
 * @typedef {number[]} Slices where bytes stand in a session's pool: start, length, start, length, …
 * @typedef {string | Slices | null} Held a text, or where its bytes stand as the inside of a JSON string
 *
 * @typedef {object} Facts
 * @property {number} run
 * @property {string | null} run_id
 * @property {string | null} corpus
 * @property {string | null} task_id
 * @property {string | null} session
 * @property {number | null} trial
 * @property {number | null} attempt
 * @property {string | null} agent
 * @property {string | null} agent_version
 * @property {string | null} model
 * @property {string | null} verdict
 * @property {string | null} reason
 * @property {string | null} prompt
 * @property {number} calls
 * @property {number | null} prompt_tokens
 * @property {number | null} completion_tokens
 * @property {number | null} seconds
 * @property {boolean} patch
 * @property {number} blocks
 *
 * @typedef {object} Part
 * @property {"text" | "refusal" | "thinking" | "image" | "call" | "result" | "opaque"} type
 * @property {Held} [text]
 * @property {boolean} [encrypted]
 * @property {string | null} [media_type]
 * @property {Held} [data]
 * @property {Held} [url]
 * @property {string | null} [id]
 * @property {string | null} [name]
 * @property {string} [kind]
 * @property {Held} [arguments]
 * @property {boolean | null} [error]
 * @property {Part[]} [parts]
 * @property {Held} [json]
 *
 * @typedef {{ role: string, parts: Part[], key: string }} Message
 * @typedef {{ name: string, kind: string, description: Held, parameters: Held }} Tool
 *
 * @typedef {object} Call
 * @property {string} rid
 * @property {string} api
 * @property {string | null} model
 * @property {number | null} turn
 * @property {number | null} status
 * @property {number | null} start
 * @property {number | null} first
 * @property {number | null} end
 * @property {{ prompt_tokens: number | null, completion_tokens: number | null, cached_tokens: number | null }} usage
 * @property {string | null} finish
 * @property {boolean | null} ended
 * @property {string | null} error
 * @property {number | null} tools
 * @property {Record<string, unknown>} sampling
 * @property {number | null} said
 * @property {number[]} others
 * @property {Slices} request
 * @property {Slices | null} response
 * @property {boolean} stream
 * @property {Slices} facts
 * @property {number[]} [told] the messages that came up with this call; a call of no thread has none
 * @property {boolean} [copied]
 *
 * @typedef {[number, string, number | null, number, number, number]} Step
 *   a call, how it follows the previous one, that one, and how many messages were kept, removed and added
 * @typedef {{ kind: string, parent: number | null, steps: Step[] }} Thread
 * @typedef {{ kind: string, start: number, first?: number | null, end: number, call: number, names?: string[] }} Span
 *
 * @typedef {Record<string, any>} Resources what was used; a figure that is not known is null
 * @typedef {object} MeasuredTool
 * @property {string} name
 * @property {number} position
 * @property {number | null} started_at_ns
 * @property {number | null} ended_at_ns
 * @property {number | null} exit_code
 * @property {boolean | null} background
 * @property {Resources | null} resources
 *
 * @typedef {object} Measured
 * @property {Resources} session
 * @property {Resources[]} turns
 * @property {number | null} coverage
 * @property {Record<string, MeasuredTool[]>} tools by the number of the call that asked for them
 *
 * @typedef {object} Document
 * @property {Call[]} calls
 * @property {Thread[]} threads
 * @property {Message[]} messages
 * @property {Tool[][]} tools
 * @property {Span[]} spans
 * @property {Record<string, any>} result
 * @property {Measured | null} measured
 * @property {Slices | null} patch
 *
 * @typedef {object} Session
 * @property {number} number
 * @property {Facts} facts
 * @property {Document} document
 */
export {};
